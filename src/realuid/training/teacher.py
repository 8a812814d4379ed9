"""Training of a teacher by unified matching on real data."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path

from accelerate import Accelerator
from torch import Tensor, nn

from realuid.data import Dataset
from realuid.metrics import Evaluator
from realuid.models import MatchingModel
from realuid.on_data import encode_dataset, record_classes, samples_of_each_call
from realuid.processes import WHOLE, Part
from realuid.seeds import mix, seeded
from realuid.training.accelerate import make_accelerator
from realuid.training.batches import DrawOptions
from realuid.training.buckets import batches_of
from realuid.training.compatibility import check_teacher_run
from realuid.training.config import TeacherConfig
from realuid.training.draws import Draw, micro_batches
from realuid.training.ema import EMA
from realuid.training.execution import choose_execution
from realuid.training.grids import grid_prompts
from realuid.training.loop import Run
from realuid.training.player import Player
from realuid.training.resuming import form_of
from realuid.training.task import Task
from realuid.training.updates import teacher_loss


class TeacherTask(Task):
    """Training of one network with the loss E w(t) ||f(x_t) - y||^2 (Def. 1).

    Args:
        model: with its initial weights.
        data: training data; labels are used if the network is conditional, images encoded if it is on latents.
        config: settings.
        accelerator: device and processes.
    """

    title, section = "teacher", "training"

    def __init__(self, model: MatchingModel, data: Dataset, config: TeacherConfig, accelerator: Accelerator):
        self.model, self.config = model, config
        data = data if model.num_classes else data.without_labels()
        record_classes(model, data)
        if model.codec:
            data = encode_dataset(data, model.codec, accelerator.device)
        self.execution = choose_execution(config, accelerator.device, model)
        self.execution.apply(model)
        self.learner = Player("teacher", model.train(), config.lr, config, accelerator, self.execution)
        self.players = (self.learner,)
        self.ema = EMA(model, config.ema, self.learner.shell)
        self.batches = batches_of(
            data.near(accelerator.device),
            model.path,
            config.seed,
            config.flip,
            Part(accelerator.process_index, accelerator.num_processes),
            conditions=model.conditions,
            device=accelerator.device,
            options=DrawOptions(label_dropout=config.label_dropout),
        )
        self.images_per_update, self.sampling = config.batch, {"steps": config.steps}
        self.grid_prompts = grid_prompts(config.grid_prompts, model)

    @functools.cached_property
    def inputs(self) -> dict[str, object]:
        """The fingerprint of the data, and the form of the model."""
        return {"data": self.batches.data.fingerprint(pairs=True), **form_of(self.model)}

    def update(self, number: int) -> dict[str, Tensor]:
        """One optimiser step of the teacher."""
        draw = self.batches.real("teacher", number, self.config.batch)
        with seeded(mix(self.config.seed, "dropout", number, self.batches.part.rank)):
            for attempt in self.learner.attempts():
                with attempt as accumulation_steps:
                    for micro_batch in micro_batches(draw, accumulation_steps):
                        with self.learner.accumulating():
                            self.learner.backward(self._loss(micro_batch))
            return self.learner.step(number)

    def _loss(self, draw: Draw) -> Tensor:
        with self.learner.autocast():
            return teacher_loss(self.learner.call, self.model.path, self.model.prediction, draw, self.config.batch)

    def sample(self, model: nn.Module, count: int, seed: int, part: Part = WHOLE) -> Iterator[list[Tensor]]:
        """Multi-step samples under the conditions of the data."""
        assert isinstance(model, MatchingModel)
        return samples_of_each_call(model, self.batches.data, count, seed=seed, part=part, **self.sampling)


def train_teacher(
    model: MatchingModel,
    data: Dataset,
    config: TeacherConfig,
    folder: str | Path,
    *,
    evaluator: Evaluator | None = None,
    resume: bool = False,
) -> MatchingModel:
    """Train a teacher and write its run to a folder.

    Args:
        model: network, path and prediction, with initial weights.
        data: the training data.
        config: settings; everything random follows from `config.seed`.
        folder: of the run, new or empty.
        evaluator: for quick FDs during training (with `config.evaluate_every`).
        resume: continue the run in `folder`.

    Returns:
        the model with EMA weights: the best by quick FD, or the last if none was computed.
    """
    check_teacher_run(model, data, config)
    accelerator = make_accelerator(config)
    task = TeacherTask(model, data, config, accelerator)
    trained = Run(task, config, Path(folder), accelerator, evaluator).start(resume)
    assert isinstance(trained, MatchingModel)
    return trained
