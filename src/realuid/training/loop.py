"""The training loop of teachers and students: updates, logging, evaluation, sample grids, checkpoints, resuming."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import nn

from realuid._version import __version__
from realuid.data import save_image
from realuid.errors import CheckpointError, NonFiniteError
from realuid.files import atomic_file, write_json
from realuid.metrics import Evaluator
from realuid.models import MatchingModel, OwnNetwork, Student, from_pretrained, load_strictly, save_pretrained
from realuid.processes import Part
from realuid.training.checkpoints import Checkpoints, Meta
from realuid.training.config import LoopConfig
from realuid.training.evaluation import SAMPLE_SEED, evaluate_averages
from realuid.training.finite import ADVICE, check_values, check_weights
from realuid.training.folder import HEALTH, MACHINE, METRICS, begin, mend, worked_in
from realuid.training.health import Monitor
from realuid.training.interrupt import noted_interrupts
from realuid.training.log import Means, RunLog, Throughput, Value, check_wandb
from realuid.training.machine import machine_of
from realuid.training.settings import FREE, decided, renamed, to_dict
from realuid.training.sharding import gathered, share
from realuid.training.task import Callback, Hopeless, Progress, QuickFDs, Task


class Run:
    """The run of a task in a folder: metrics.jsonl, samples/, checkpoints/, best/ and, at the end, model/.

    Args:
        task: teacher or distillation.
        config: length, intervals, averages.
        folder: the run's folder.
        accelerator: device and processes.
        evaluator: for quick FDs; None: no evaluation.
        about: further sections for the config.json of saved models (teacher, data).
        files: name -> text of further files of the folder, for instance the recipe that resuming reads.
        hopeless: stops the run early if it returns True; None: never.

    Attributes:
        page: to be set: called on the main process with the folder when that holds something new to show.
        callbacks: called in the main process after every line of the log.
    """

    def __init__(
        self,
        task: Task,
        config: LoopConfig,
        folder: Path,
        accelerator: Accelerator,
        evaluator: Evaluator | None = None,
        about: Mapping[str, object] | None = None,
        files: dict[str, str] | None = None,
        hopeless: Hopeless | None = None,
    ):
        check_wandb(config.wandb)
        self.task, self.config, self.folder, self.accelerator = task, config, folder, accelerator
        self.evaluator, self.about, self.files = evaluator, dict(about or {}), files or {}
        self.hopeless, self.stopped = hopeless, False
        self.page: Callable[[Path], None] | None = None
        self.checkpoints = Checkpoints(folder / "checkpoints", config.keep)
        self.progress = Progress()
        self.means, self.throughput = Means(), Throughput()
        self.last: dict[str, Value] = {}
        self.callbacks: Sequence[Callback] = ()

    def start(self, resume: bool = False) -> nn.Module:
        """Train to the end and return the result: the best model by quick FD, or the last if none was computed.

        Args:
            resume: continue from the newest checkpoint instead of starting at update 0; the configuration may ask for
                more updates than before.

        Raises:
            NonFiniteError: when a loss or a gradient is infinite or NaN.
            CheckpointError: when there is no usable checkpoint, or the run had other settings.
            ConfigError: if the folder of a new run is not empty, or another process uses it.
        """
        with worked_in(self.folder, resume, self.accelerator):
            return self._start(resume)

    def _start(self, resume: bool) -> nn.Module:
        if resume:
            if self.accelerator.is_main_process:
                mend(self.folder)
            self.accelerator.wait_for_everyone()
            longer = self._load(*self.checkpoints.latest())
            if longer and self.accelerator.is_main_process:
                self._write_files()
        else:
            if self.accelerator.is_main_process:
                begin(self.folder)
                self._write_files()
            self._save()
        if self.accelerator.is_main_process:
            write_json(self.folder / MACHINE, machine_of(self.task, self.accelerator))
        log = RunLog(
            self.folder,
            self.accelerator,
            self.config.updates,
            self.task.title,
            self.progress.update,
            self.config.wandb,
            {**to_dict(self.config), **self.about},
        )
        try:
            with noted_interrupts(self.accelerator.num_processes) as interrupt:
                while self.progress.update < self.config.updates and not self.stopped:
                    self._advance(log)
                    if interrupt.agreed():
                        self._leave()
        finally:
            log.close()
        return self._finish()

    def _advance(self, log: RunLog) -> None:
        values = self.task.update(self.progress.update)
        self.task.ema.update()
        self.progress.update += 1
        self.means.add(values)
        self.throughput.images += self.task.images_per_update
        done, last = self.progress.update, self.progress.update == self.config.updates

        def due(every: int) -> bool:
            return bool(every) and (done % every == 0 or last)

        c = self.config
        if self.accelerator.device.type == "cpu" or any(
            due(every) for every in (1 if last else 0, c.log_every, c.save_every, c.evaluate_every, c.sample_every)
        ):
            check_values(values, self._where(), half=self.config.precision == "fp16")
        log.advance(done)
        if due(self.config.log_every):
            means = self.task.summary(self.means.read(self.accelerator))
            means |= {"images": done * self.task.images_per_update, "images_per_second": self.throughput.read()}
            self.last = means
            self._log(log, means)
        with self.throughput.paused():
            if last or any(map(due, (c.sample_every, c.evaluate_every, c.save_every))):
                check_weights(self.task.players, self.task.ema, self.accelerator, self._where())
            if due(self.config.sample_every):
                self._grid()
            if due(self.config.evaluate_every) and self.evaluator is not None:
                self._log(log, self._evaluate())
                self._look()
                self.stopped = not last and self.hopeless is not None and self.hopeless(self.progress.history)
            if due(c.sample_every) or due(c.evaluate_every):
                self._show()
            if last or (self.config.save_every and done % self.config.save_every == 0):
                self._save()

    def _log(self, log: RunLog, values: Mapping[str, Value]) -> None:
        log.write(self.progress.update, values, note=self._note())
        if self.accelerator.is_main_process:
            for callback in self.callbacks:
                callback(self.progress.update, values)

    def _leave(self) -> None:
        """Write a checkpoint and end the run, which can be resumed."""
        if self.progress.update not in self.checkpoints.steps():
            check_weights(self.task.players, self.task.ema, self.accelerator, self._where())
            self._save()
        self.accelerator.wait_for_everyone()  # a launcher ends all processes when the first one has ended
        raise KeyboardInterrupt(f"update {self.progress.update} of {self.folder} is saved")

    def _where(self) -> str:
        """For messages: the current update and the last good checkpoint."""
        steps = self.checkpoints.steps()
        good = f"update {steps[-1]}" if steps else "none was written yet"
        return f"at update {self.progress.update} of {self.folder}. The last good checkpoint is untouched: {good}"

    def _note(self) -> str:
        """What the report of progress says beside the number of updates: gap or loss, speed, quick FD."""
        told: list[str] = []
        loss = f"{self.task.learner.name}/loss"
        for name, called in (("gap", "gap"), (loss, "loss")):
            if isinstance(value := self.last.get(name), float):
                told = [f"{called} {value:.3g}"]
                break
        if isinstance(rate := self.last.get("images_per_second"), float):
            told.append(f"{rate:,.0f} img/s")
        told += [f"FD {entry['fd']:.3g}" for entry in self.progress.history[-1:]]
        return ", ".join(told)

    # -- evaluation --------------------------------------------------------------------------------------------

    @torch.no_grad()
    def _evaluate(self) -> QuickFDs:
        """Quick FDs, of which the best model is written to best/, and measurements of health."""
        assert self.evaluator is not None
        part = Part(self.accelerator.process_index, self.accelerator.num_processes)
        fds, seen = evaluate_averages(self.task, self.evaluator, self.config.quick_samples, part, self._consider)
        self.progress.history.append({"update": self.progress.update, **fds})
        seen |= self.task.vitals(len(self.progress.history) - 1)
        return fds | {f"health/{name}": value for name, value in seen.items()}

    def _consider(self, model: nn.Module, decay: float, fd: float) -> None:
        """Keep an average of the learner as the best model if its quick FD is the lowest so far."""
        if not math.isfinite(fd):
            raise NonFiniteError(f"the FD of samples is {fd} {self._where()}. {ADVICE}")
        if self.progress.best is None or fd < self.progress.best["fd"]:
            self.progress.best = {"fd": fd, "update": self.progress.update, "ema": decay}
            self._export(model, "best")

    @torch.no_grad()
    def _grid(self) -> None:
        with self.task.ema.applied(self.task.ema.decays[0]) as model:
            if self.accelerator.is_main_process:
                assert isinstance(model, MatchingModel | Student)
                picture = self.task.grid(model, 64, SAMPLE_SEED)
                save_image(picture, self.folder / "samples" / f"{self.progress.update:07d}.png")

    def _look(self) -> None:
        """Judge the run's health by its log."""
        if self.accelerator.is_main_process and (facts := self.task.facts()) is not None:
            Monitor(self.folder / METRICS, self.folder / HEALTH, facts).look()

    def _show(self) -> None:
        if self.page is not None and self.accelerator.is_main_process:
            self.page(self.folder)

    def _export(self, model: nn.Module, name: str) -> None:
        assert isinstance(model, MatchingModel | Student)
        if self.accelerator.is_main_process:
            trained = {"update": self.progress.update, "best": self.progress.best}
            about = self.about | {self.task.section: to_dict(self.config), "trained": trained}
            save_pretrained(model, self.folder / name, **about)

    def _finish(self) -> nn.Module:
        with self.task.ema.applied(self.task.ema.decays[0]) as model:
            self._export(model, "model")
            own = next((m for m in model.modules() if isinstance(m, OwnNetwork)), None)
            function = copy.deepcopy(own.function) if own else None
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            write_json(self.folder / "history.json", self.progress.history)
        self._show()
        return from_pretrained(self.folder / ("best" if self.progress.best else "model"), function)

    # -- checkpoints -------------------------------------------------------------------------------------------

    def _write_files(self) -> None:
        for name, text in self.files.items():
            with atomic_file(self.folder / name) as temporary:
                temporary.write_text(text)

    def _save(self) -> None:
        means = self.means.state(self.accelerator)
        weights = {p.name: gathered(p.module.state_dict()) for p in self.task.players}
        weights["ema"] = gathered(self.task.ema.state_dict())
        optimizers = {f"{p.name}-optimizer": gathered(p.optimizer_state()) for p in self.task.players}
        if self.accelerator.is_main_process:
            now = self.progress
            meta = Meta(
                update=now.update,
                best=now.best,
                history=now.history,
                means=means,
                settings=self._settings(),
                about=self.about,
                version=__version__,
            )
            self.checkpoints.save(self.progress.update, weights, optimizers, meta)

    def _settings(self) -> dict[str, object]:
        return to_dict(self.config) | self.task.inputs

    def _load(self, step: int, folder: Path) -> bool:
        """Continue from a checkpoint; returns whether the run is longer than before."""
        weights, optimizers, meta = self.checkpoints.read(folder)
        settings, means = decided(renamed(meta["settings"])), meta["means"]
        settings = to_dict(type(self.config)()) | settings  # settings added since the version that wrote it
        writer = meta.get("version")
        self.about |= meta.get("about", {})  # as the run was started
        longer = self.config.updates > settings["updates"]
        free = FREE | {"updates"} if longer else FREE
        changed = [k for k, v in self._settings().items() if settings.get(k) != v and k not in free]
        if changed:
            by = "" if writer == __version__ else f" (by realuid {writer or '0.1.0 or earlier'}; this is {__version__})"
            raise CheckpointError(
                f"'{folder}' was made with another {', '.join(changed)}{by}. Resume with the same, or start a new run."
            )
        for player in self.task.players:
            own = player.module.state_dict()
            shares = {name: share(value, own.get(name)) for name, value in weights[player.name].items()}
            load_strictly(player.module, shares, str(folder / f"{player.name}.safetensors"))
            player.load_optimizer_state(optimizers[f"{player.name}-optimizer"])
        self.task.ema.load_state_dict(weights["ema"])
        self.means.load_state(means, self.accelerator.device)
        self.progress = Progress(meta["update"], meta["best"], meta["history"])
        return longer
