"""Train a teacher: unified matching on real data."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from torch import Tensor, nn

from realuid.data import Dataset, samples
from realuid.errors import ConfigError, DataError
from realuid.metrics import Evaluator
from realuid.models import MatchingModel
from realuid.processes import WHOLE, Part
from realuid.seeds import mix, seeded
from realuid.training.accelerate import make_accelerator
from realuid.training.batches import Batches, micro_batches
from realuid.training.config import TeacherConfig
from realuid.training.ema import EMA
from realuid.training.execution import choose_execution
from realuid.training.loop import Run, Task
from realuid.training.player import Losses, Player
from realuid.training.updates import teacher_loss


class TeacherTask(Task):
    """One network learning E w(t) ||f(x_t) - y||^2.

    Args:
        model: with the weights to start from.
        data: training data; labels are used if the network is conditional.
        config: settings.
        accelerator: device and processes.
    """

    title, section = "teacher", "training"

    def __init__(self, model: MatchingModel, data: Dataset, config: TeacherConfig, accelerator: Accelerator):
        self.model, self.config = model, config
        data = data if model.num_classes else data.without_labels()
        check_batch(config.batch, data)
        if config.label_dropout and all(spec.null is None for spec in model.conditions):
            raise ConfigError(
                f"label_dropout = {config.label_dropout}: the model has no class that stands for no label. Train a "
                "conditional one (data.conditional), or set label_dropout = 0."
            )
        self.execution = choose_execution(config, accelerator.device, model)
        self.execution.apply(model)
        self.learner = Player("teacher", model.train(), config.lr, config.adam_betas, config, accelerator)
        self.players = (self.learner,)
        self.ema = EMA(model, config.ema, self.learner.shell)
        self.batches = Batches(
            data.near(accelerator.device),
            model.path,
            config.seed,
            config.flip,
            accelerator.process_index,
            accelerator.num_processes,
            conditions=model.conditions,
            label_dropout=config.label_dropout,
            device=accelerator.device,
        )
        self.images_per_update = config.batch
        self.inputs = {"data": data.fingerprint(pairs=True)}

    def update(self, number: int) -> dict[str, Tensor]:
        """One step of the teacher."""
        draw = self.batches.real("teacher", number, self.config.batch)
        loss_of = partial(teacher_loss, path=self.model.path, space=self.model.prediction, batch=self.config.batch)

        def losses_in(parts: int) -> Losses:
            return [partial(loss_of, draw=part) for part in micro_batches(draw, parts)]

        with seeded(mix(self.config.seed, "dropout", number, self.batches.rank)):
            return self.learner.step(number, losses_in)

    def sample(self, model: nn.Module, count: int, seed: int, part: Part = WHOLE) -> Iterator[Tensor]:
        """Multi-step samples under the conditions of the data."""
        assert isinstance(model, MatchingModel)
        return samples(model, self.batches.data, count, steps=self.config.steps, seed=seed, part=part)


def check_batch(batch: int, data: Dataset) -> None:
    """Raise DataError if a batch of real data is larger than the data."""
    if batch > len(data):
        raise DataError(f"a batch of {batch} is larger than the data ({len(data)} samples). Lower the batch size.")


def train_teacher(
    model: MatchingModel,
    data: Dataset,
    config: TeacherConfig,
    folder: str | Path,
    *,
    evaluator: Evaluator | None = None,
    resume: bool = False,
    about: dict[str, Any] | None = None,
    files: dict[str, str] | None = None,
) -> MatchingModel:
    """Train a teacher and write its run to a folder.

    Args:
        model: network, path and prediction, with the weights to start from.
        data: what it learns to generate.
        config: settings; everything random follows from `config.seed`.
        folder: of the run; what an earlier run left there is replaced.
        evaluator: for quick FDs on the way (with `config.evaluate_every`).
        resume: continue the run in `folder`.
        about: sections to add to the saved model's config.json.
        files: name -> text of further files to write into the folder.

    Returns:
        the averaged model: the best by quick FD, or the last where none was measured.
    """
    accelerator = make_accelerator(config)
    task = TeacherTask(model, data, config, accelerator)
    trained = Run(task, config, Path(folder), accelerator, evaluator, about, files).start(resume)
    assert isinstance(trained, MatchingModel)
    return trained
