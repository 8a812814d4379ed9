"""Logs of a run: metrics.jsonl, TensorBoard, optionally Weights & Biases, and its progress."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypedDict

import torch
from accelerate import Accelerator
from accelerate.tracking import GeneralTracker, TensorBoardTracker, WandBTracker
from accelerate.utils import is_wandb_available
from torch import Tensor

from realuid.errors import ConfigError
from realuid.files import atomic_file, to_json
from realuid.progress import Progress

#: A logged value: a number, or a list for a vector; None for missing values.
Value = float | list[float] | list[float | None] | None


class Sums(TypedDict):
    """Sums and counts of logged values, for JSON."""

    sums: dict[str, float | list[float]]
    counts: dict[str, int]


def check_wandb(project: str | None) -> None:
    """Raise ConfigError if wandb is requested but not installed."""
    if project and not is_wandb_available():
        raise ConfigError(f"wandb = {project} needs the extra: pip install 'realuid[wandb]'.")


class Means:
    """Running means of device tensors, without synchronisation until they are read."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, values: dict[str, Tensor]) -> None:
        """Add one update's values; vectors are averaged element by element."""
        for name, value in values.items():
            value = value.detach().double()
            self._sums[name] = self._sums[name] + value if name in self._sums else value
            self._counts[name] = self._counts.get(name, 0) + 1

    def read(self, accelerator: Accelerator) -> dict[str, float | list[float]]:
        """Means since the last reading, over all processes: floats, or lists for vectors."""
        if not self._sums:
            return {}
        names = list(self._sums)
        means = [(self._sums[n] / self._counts[n]).flatten() for n in names]
        flat = accelerator.reduce(torch.cat(means), reduction="mean").float().cpu()
        parts = flat.split([len(m) for m in means])
        result = {n: p.tolist() if self._sums[n].dim() else p.item() for n, p in zip(names, parts, strict=True)}
        self._sums, self._counts = {}, {}
        return result

    def state(self, accelerator: Accelerator) -> Sums:
        """Sums (their mean over all processes) and counts since the last reading, for JSON."""
        sums = {n: accelerator.reduce(value, reduction="mean").tolist() for n, value in self._sums.items()}
        return {"sums": sums, "counts": self._counts}

    def load_state(self, state: Sums, device: torch.device) -> None:
        """Read back what `state` wrote."""
        self._sums = {n: torch.tensor(v, dtype=torch.float64, device=device) for n, v in state["sums"].items()}
        self._counts = dict(state["counts"])


def note_of(values: Mapping[str, Value], learner: str, history: Sequence[Mapping[str, float]]) -> str:
    """What the report of progress says beside the number of updates: gap or loss, speed, quick FD.

    Args:
        values: last logged.
        learner: its name.
        history: the evaluations so far.
    """
    told: list[str] = []
    for name, called in (("gap", "gap"), (f"{learner}/loss", "loss")):
        if isinstance(value := values.get(name), float):
            told = [f"{called} {value:.3g}"]
            break
    if isinstance(rate := values.get("images_per_second"), float):
        told.append(f"{rate:,.0f} img/s")
    told += [f"FD {entry['fd']:.3g}" for entry in history[-1:]]
    return ", ".join(told)


class RunLog:
    """The log of a run; on processes other than the main one every method does nothing.

    Args:
        folder: the run's folder.
        accelerator: knows the main process.
        updates: length of the run.
        title: of the progress.
        start: first update; later lines of a resumed run are dropped.
        wandb: project name, or None.
        settings: the run's configuration, for Weights & Biases.
        evaluated: later quick FDs of a resumed run are dropped.
    """

    def __init__(
        self,
        folder: Path,
        accelerator: Accelerator,
        updates: int,
        title: str,
        start: int = 0,
        wandb: str | None = None,
        settings: dict | None = None,
        evaluated: int = 0,
    ):
        self.path = folder / "metrics.jsonl"
        self.main = accelerator.is_main_process
        if self.main:
            self._drop_after(start, evaluated)
        self.trackers: list[GeneralTracker] = [TensorBoardTracker("tensorboard", str(folder), purge_step=start)]
        if wandb:
            self.trackers.append(WandBTracker(wandb, dir=str(folder), config=settings, name=folder.name))
        for tracker in self.trackers:
            tracker.start()
        self.progress = Progress(title, updates, start, quiet=not self.main)

    def _drop_after(self, step: int, evaluated: int) -> None:
        if self.path.is_file():
            text = self.path.read_text(errors="replace")
            lines = [line for line in text.splitlines() if _update_of(line) <= (evaluated if '"fd":' in line else step)]
            with atomic_file(self.path) as temporary:
                temporary.write_text("".join(line + "\n" for line in lines))

    def write(self, update: int, values: Mapping[str, Value], note: str = "") -> None:
        """One line of metrics after an update."""
        if self.main:
            with self.path.open("a") as file:
                file.write(to_json({"update": update, **values}) + "\n")
            self.progress.update(update, note)
        scalars = {k: v for k, v in values.items() if isinstance(v, int | float)}
        vectors = {f"{k}/{i}": x for k, v in values.items() if isinstance(v, list) for i, x in enumerate(v)}
        for tracker in self.trackers:
            tracker.log(scalars | vectors, step=update)

    def advance(self, update: int) -> None:
        """Report the progress."""
        self.progress.update(update)

    def close(self) -> None:
        """End the report of progress and flush the trackers."""
        self.progress.close()
        for tracker in self.trackers:
            tracker.finish()


def _update_of(line: str) -> int:
    try:
        return int(json.loads(line)["update"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return 2**62  # a truncated or damaged line


class Throughput:
    """Images per second since the last reading, excluding pauses."""

    def __init__(self) -> None:
        self.since, self.images = time.perf_counter(), 0

    def read(self) -> float:
        """Images per second since the last reading; restarts the count."""
        now = time.perf_counter()
        rate = self.images / max(now - self.since, 1e-9)
        self.since, self.images = now, 0
        return rate

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Exclude a `with` block from the time; the device must be synchronised before it."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.since += time.perf_counter() - start
