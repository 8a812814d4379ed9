"""The training loop of teachers and students: updates, logging, evaluation, sample grids, checkpoints, resuming."""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import nn

from realuid._version import __version__
from realuid.data import save_image
from realuid.errors import NonFiniteError
from realuid.files import write_json
from realuid.metrics import Evaluator
from realuid.models import MatchingModel, OwnNetwork, Student, from_pretrained, save_pretrained
from realuid.processes import Part
from realuid.training.checkpoints import Checkpoints, Meta
from realuid.training.config import LoopConfig
from realuid.training.evaluation import SAMPLE_SEED, evaluate_averages
from realuid.training.finite import ADVICE, check_values, check_weights
from realuid.training.folder import HEALTH, MACHINE, METRICS, begin, mend, worked_in, write_files
from realuid.training.health import Monitor
from realuid.training.interrupt import noted_interrupts
from realuid.training.log import Means, RunLog, Throughput, Value, note_of
from realuid.training.machine import check_machine, machine_of
from realuid.training.resuming import as_started, is_longer, restore
from realuid.training.settings import to_dict
from realuid.training.sharding import gathered
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
        check_machine(config, accelerator.device)
        self.task, self.config, self.folder, self.accelerator = task, config, folder, accelerator
        self.evaluator, self.about, self.files = evaluator, dict(about or {}), files or {}
        self.hopeless, self.stopped = hopeless, False
        self.page: Callable[[Path], None] | None = None
        self.checkpoints = Checkpoints(folder / "checkpoints", config.keep)
        self.progress = Progress()
        self.means, self.throughput = Means(), Throughput()
        self.last: dict[str, Value] = {}
        self.callbacks: Sequence[Callback] = ()
        self.steps = [0 for _ in task.players]  # of their optimisers, after the last whole update

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
                write_files(self.folder, self.files)
        else:
            if self.accelerator.is_main_process:
                begin(self.folder)
                write_files(self.folder, self.files)
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
            evaluated=self.progress.update - self.progress.pending,
        )
        try:
            with noted_interrupts(self.accelerator.num_processes) as interrupt:
                if self.progress.pending:
                    self._examine(log)
                while self.progress.update < self.config.updates and not self.stopped:
                    self._advance(log)
                    if interrupt.agreed():
                        self._leave()
        except Exception as error:
            self._rescue(error)
            raise
        finally:
            log.close()
        return self._finish()

    def _due(self, every: int) -> bool:
        done = self.progress.update
        return bool(every) and (done % every == 0 or done == self.config.updates)

    def _advance(self, log: RunLog) -> None:
        c, means = self.config, None
        values = self.task.update(self.progress.update)
        self.task.ema.update()
        self.progress.update += 1
        self.means.add(values)
        self.throughput.images += self.task.images_per_update
        if self.accelerator.device.type == "cpu" or any(
            map(self._due, (c.updates, c.log_every, c.save_every, c.evaluate_every, c.sample_every))
        ):
            check_values(values, self._where(), half=c.precision == "fp16")
        log.advance(done := self.progress.update)
        if self._due(c.log_every):
            means = self.task.summary(self.means.read(self.accelerator))
            means |= {"images": done * self.task.images_per_update, "images_per_second": self.throughput.read()}
            self.last = means
            self._write(log, means)
        self.progress.pending = self._due(c.evaluate_every) and self.evaluator is not None
        self.steps = [player.steps for player in self.task.players]
        with self.throughput.paused():
            if any(map(self._due, (c.updates, c.sample_every, c.evaluate_every, c.save_every))):
                check_weights(self.task.players, self.task.ema, self.accelerator, self._where())
            if self._due(c.save_every or c.updates):
                self._save()  # before what may fail: callbacks, and evaluations, which need memory
            if means is not None:
                self._tell(means)
            if self.progress.pending or self._due(c.sample_every):
                self._examine(log)

    def _examine(self, log: RunLog) -> None:
        """Make the grid and the quick FDs that are due after an update."""
        c = self.config
        if self._due(c.sample_every):
            self._grid()
        if self._due(c.evaluate_every) and self.evaluator is not None:
            values = self._evaluate()
            self._write(log, values)
            self.progress.pending = False
            if self._due(c.save_every or c.updates):
                self._save()
            self._tell(values)
            self._look()
            last = self.progress.update == c.updates
            self.stopped = not last and self.hopeless is not None and self.hopeless(self.progress.history)
        self._show()

    def _write(self, log: RunLog, values: Mapping[str, Value]) -> None:
        note = note_of(self.last, self.task.learner.name, self.progress.history)
        log.write(self.progress.update, values, note)

    def _tell(self, values: Mapping[str, Value]) -> None:
        if self.accelerator.is_main_process:
            for callback in self.callbacks:
                callback(self.progress.update, values)

    def _rescue(self, error: Exception) -> None:
        """Write a checkpoint after an error if that can be done: not in the middle of an update, nor with others."""
        whole = self.steps == [player.steps for player in self.task.players]
        if whole and self.accelerator.num_processes == 1 and not isinstance(error, NonFiniteError):
            with contextlib.suppress(Exception):
                if self.progress.update not in self.checkpoints.steps():
                    check_weights(self.task.players, self.task.ema, self.accelerator, self._where())
                    self._save()

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

    @torch.no_grad()
    def _evaluate(self) -> QuickFDs:
        """Quick FDs, of which the best model is written to best/, and measurements of health."""
        assert self.evaluator is not None
        part = Part(self.accelerator.process_index, self.accelerator.num_processes)
        fds, seen = evaluate_averages(self.task, self.evaluator, self.config.quick_samples, part, self._consider)
        seen |= self.task.vitals(len(self.progress.history))
        self.progress.history.append({"update": self.progress.update, **fds})
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
                pending=now.pending,
                means=means,
                settings=to_dict(self.config) | self._inputs(),
                about=self.about,
                version=__version__,
            )
            self.checkpoints.save(self.progress.update, weights, optimizers, meta)

    def _inputs(self) -> dict[str, object]:
        measured = {"evaluate.extractor": self.evaluator.extractor.key} if self.evaluator else {}
        return {**self.task.inputs, **measured}

    def _load(self, step: int, folder: Path) -> bool:
        """Continue from a checkpoint; returns whether the run is longer than before."""
        weights, optimizers, meta = self.checkpoints.read(folder)
        longer = is_longer(self.config, self._inputs(), meta, folder)
        self.about |= as_started(meta.get("about", {}), self.about)
        restore(self.task, weights, optimizers, folder)
        self.means.load_state(meta["means"], self.accelerator.device)
        self.progress = Progress(meta["update"], meta["best"], meta["history"], meta.get("pending", False))
        return longer
