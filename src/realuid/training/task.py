"""The interface between the training loop and its task, and the progress of a run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import torch
from PIL import Image
from torch import Tensor, nn

from realuid.data.grid import grid_image
from realuid.models import MatchingModel, Student
from realuid.on_data import sample_image, samples_of_each_call
from realuid.processes import WHOLE, Part
from realuid.sampling import SamplingOptions
from realuid.training.buckets import AnyBatches
from realuid.training.ema import EMA
from realuid.training.execution import Execution
from realuid.training.grids import GridPrompts
from realuid.training.health import Facts
from realuid.training.log import Value
from realuid.training.player import Player

#: Quick FDs of one evaluation during training (of every EMA), with its update.
QuickFDs = dict[str, float]
#: Decides after every evaluation whether to stop the run, from all so far (each with "update" and "fd").
#: Called with the number of updates so far and what was just logged: losses, or the quick FDs of an evaluation.
Callback = Callable[[int, Mapping[str, Value]], None]
Hopeless = Callable[[list[QuickFDs]], bool]


class Task(ABC):
    """The training of a teacher, or of a student with its fake model."""

    title: str
    #: Section of a saved model's config.json for its settings.
    section: str
    players: tuple[Player, ...]
    #: The player whose EMA weights are the result.
    learner: Player
    ema: EMA
    execution: Execution
    batches: AnyBatches
    #: Number of images that pass through trained networks in one update.
    images_per_update: int
    #: Number of calls of a student; there are samples after each.
    calls: int = 1
    #: How a teacher is sampled.
    sampling: SamplingOptions = {}  # noqa: RUF012 (replaced, never changed)
    #: Prompts of the grids; None: those of the data.
    grid_prompts: GridPrompts | None = None

    @property
    @abstractmethod
    def inputs(self) -> dict[str, object]:
        """Inputs besides the settings: fingerprints of data and teacher, form of the model, for JSON.

        A run resumes only with the same ones.
        """

    @abstractmethod
    def update(self, number: int) -> dict[str, Tensor]:
        """One update (counted from 0); returns values that are averaged and logged."""

    @abstractmethod
    def sample(self, model: nn.Module, count: int, seed: int, part: Part = WHOLE) -> Iterator[list[Tensor]]:
        """This process's batches of samples from a copy of the learner, one tensor for each of its calls."""

    def grid(self, model: MatchingModel | Student, count: int, seed: int) -> Image.Image:
        """A grid of samples as one image; of fixed prompts one column for each, if there are any."""
        if self.grid_prompts is not None:
            condition, columns = self.grid_prompts.of(count)
            shown = len(next(iter(condition.values())))
            how: SamplingOptions = {**self.sampling, "condition": condition}
            found = samples_of_each_call(model, self.batches.data, shown, seed=seed, **how)
            return grid_image(torch.cat([each[-1] for each in found]), columns)
        return sample_image(
            model, self.batches.data, torch.cat([found[-1] for found in self.sample(model, count, seed)])
        )

    def vitals(self, number: int) -> dict[str, float]:
        """Measurements of health with an evaluation (counted from 0), for `training.health`; by default none."""
        return {}

    def facts(self) -> Facts | None:
        """What settings and data say about health before the run; None: its health is not judged."""
        return None

    def summary(self, means: Mapping[str, float | list[float]]) -> dict[str, Value]:
        """Convert averaged values to those of the log; by default unchanged."""
        return dict(means)


@dataclass
class Progress:
    """Progress of a run; saved with every checkpoint."""

    update: int = 0
    #: Lowest quick FD so far, with its update and EMA decay: {"fd", "update", "ema"}.
    best: QuickFDs | None = None
    #: Every evaluation.
    history: list[QuickFDs] = field(default_factory=list)
    #: Whether the grid and the evaluation that are due after this update are yet to be made.
    pending: bool = False
