"""What the loop knows of what it trains, and what a run knows about itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import torch
from PIL import Image
from torch import Tensor, nn

from realuid.models import MatchingModel, Student
from realuid.on_data import sample_image
from realuid.processes import WHOLE, Part
from realuid.training.batches import Batches
from realuid.training.ema import EMA
from realuid.training.execution import Execution
from realuid.training.log import Value
from realuid.training.player import Player

#: Quick FDs of an evaluation on the way (of every average), with its update.
QuickFDs = dict[str, float]
#: Asked after every evaluation, with all of them so far (each with "update" and "fd"): whether to stop the run.
Hopeless = Callable[[list[QuickFDs]], bool]


class Task(ABC):
    """What a run trains: a teacher, or a student with its fake model."""

    title: str
    #: Section of a saved model's config.json that its settings are written to.
    section: str
    players: tuple[Player, ...]
    #: The player whose averaged weights are the result.
    learner: Player
    ema: EMA
    execution: Execution
    batches: Batches
    #: Images that pass through learning networks in one update.
    images_per_update: int
    #: Kinds of samples: after each call of a student.
    calls: int = 1
    #: What the result depends on besides the settings: name -> fingerprint; a run resumes with the same ones only.
    inputs: dict[str, str]

    @abstractmethod
    def update(self, number: int) -> dict[str, Tensor]:
        """One update (counted from 0); what it returns is averaged and logged."""

    @abstractmethod
    def sample(self, model: nn.Module, count: int, seed: int, part: Part = WHOLE) -> Iterator[list[Tensor]]:
        """Batches of samples from a copy of the learner, after each of its calls; only this process's."""

    def grid(self, model: MatchingModel | Student, count: int, seed: int) -> Image.Image:
        """Such samples as one picture."""
        return sample_image(
            model, self.batches.data, torch.cat([found[-1] for found in self.sample(model, count, seed)])
        )

    def summary(self, means: Mapping[str, float | list[float]]) -> dict[str, Value]:
        """Turn averaged values into what is written to the log; by default unchanged."""
        return dict(means)


@dataclass
class Progress:
    """What a run knows about itself; saved with every checkpoint."""

    update: int = 0
    #: Lowest quick FD so far, with its update and average: {"fd", "update", "ema"}.
    best: QuickFDs | None = None
    #: Every evaluation.
    history: list[QuickFDs] = field(default_factory=list)
