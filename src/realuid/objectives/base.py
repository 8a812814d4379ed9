"""What every objective is: per-sample losses of both players, from predictions and targets alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor


class Objective(ABC):
    """Losses of the fake model and of the generator, per sample, shape (b,); both players minimise.

    Everywhere `teacher` is f*(x_t), `fake` is f(x_t) and `target` is y, all of shape (b, *d) and in one space.
    """

    #: Whether the fake model's loss reads f*, so that the teacher is called on its turn too.
    fake_needs_teacher: ClassVar[bool] = False
    #: Spaces the loss is defined in; None: all of them.
    spaces: ClassVar[tuple[str, ...] | None] = None

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
        """The generator's loss; gradients flow through what of its arguments the method lets them.

        Args:
            teacher, fake: with the graph through x_t.
            target: with the graph through x_0^g.
            x_t: the point itself, with the graph through x_0^g.
        """
