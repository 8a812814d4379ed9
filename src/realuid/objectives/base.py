"""Base of all objectives: per-sample losses of fake model and generator, from predictions and targets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from realuid.objectives.names import TimeWeight
from realuid.objectives.weights import TIME_WEIGHTS
from realuid.paths import Path

#: Lower bound of a sample's mean |y - f*| as a divisor.
_TINY = 1e-8


@dataclass(frozen=True, kw_only=True)
class Objective(ABC):
    """Losses of the fake model and of the generator, per sample, shape (b,); both are minimised.

    Everywhere `teacher` is f*(x_t), `fake` is f(x_t) and `target` is y, all of shape (b, *d) and in one space.

    Args:
        weight: w(t) of both players' losses, a name in `TIME_WEIGHTS`.
        normalise: divide a sample's generator loss by its mean |y^g - f*|, detached (SiD).
    """

    weight: TimeWeight = "path"
    normalise: bool = False

    #: Whether the fake model's loss needs f*, so that fake updates call the teacher.
    fake_needs_teacher: ClassVar[bool] = False
    #: Whether the generator's gradient passes through f* and f, so that their activations are stored.
    through_networks: ClassVar[bool] = True
    #: Spaces in which the loss is defined; None: all.
    spaces: ClassVar[tuple[str, ...] | None] = None
    #: Whether real data has an effect only if beta / alpha != 1.
    needs_ratio: ClassVar[bool] = True
    #: Whether the generator's gradient needs the teacher at noised real data: `teacher_signal`.
    generator_needs_real: ClassVar[bool] = False
    #: Whether the real target can be guided like the teacher, so that real data does not correct guidance.
    guides_real_target: ClassVar[bool] = False

    @property
    def shares_noise(self) -> bool:
        """Whether real samples get the times and noise of generated ones, since the signs of their targets differ."""
        return False

    @property
    @abstractmethod
    def real_spread(self) -> float:
        """Ratio of the standard deviations of the weighted gradients of a real and a generated sample."""

    @property
    @abstractmethod
    def uses_real_data(self) -> bool:
        """Whether the fake model's loss has a real-data term."""

    @abstractmethod
    def fake_on_generated(self, fake: Tensor, target: Tensor, teacher: Tensor | None = None) -> Tensor:
        """The fake model's loss on generated samples."""

    @abstractmethod
    def fake_on_real(self, fake: Tensor, target: Tensor, teacher: Tensor | None = None) -> Tensor:
        """The fake model's loss on real samples."""

    @abstractmethod
    def generator(self, teacher: Tensor, fake: Tensor, target: Tensor, x_t: Tensor) -> Tensor:
        """The generator's loss; which arguments get gradients depends on the objective.

        Args:
            teacher, fake: with the graph through x_t.
            target: with the graph through x_0^g.
            x_t: the point itself, with the graph through x_0^g.
        """

    def teacher_signal(self, on_generated: Tensor, y_g: Tensor, on_real: Tensor, y_r: Tensor) -> Tensor:
        """The teacher's prediction in the generator's loss if `generator_needs_real`, shape (b, *d).

        Args:
            on_generated, y_g: f*(x_t^g) and its target.
            on_real, y_r: the same for real data with the same times, noise and condition.
        """
        raise NotImplementedError(f"{type(self).__name__} reads the teacher at generated samples only")

    def time_weight(self, path: Path, t: Tensor, space: str) -> Tensor:
        """w(t) of both losses in `space`, shape (b,)."""
        return TIME_WEIGHTS[self.weight](path, t, space)

    def sample_weight(self, teacher: Tensor, target: Tensor) -> Tensor:
        """Factor of a sample's generator loss besides w(t), shape (b,), detached: 1, or SiD's 1 / mean."""
        distance = (target - teacher).detach().abs().flatten(1).mean(1)
        return 1 / distance.clamp(min=_TINY) if self.normalise else torch.ones_like(distance)
