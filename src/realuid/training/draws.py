"""Random inputs of one step, and their micro-batches."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import overload

from torch import Tensor

from realuid.models import Condition


@dataclass(frozen=True)
class Draw:
    """Random inputs of one step, for n samples.

    Attributes:
        t: times, shape (n,).
        x_T: source of the path, shape (n, *shape): noise, or on coupled paths the source of a real pair.
        eps: third Gaussian of the path, shape (n, *shape), or None.
        x_0: real data, shape (n, *shape), or None for generated samples.
        z: noise of the student, shape (n, *shape), or None for real data and images generated before.
        condition: what the model declares; on a coupled path also the source, whether or not the network reads it.
        call: which of the student's calls makes each sample, counted from 0 (on the host), None for the last; of real
            data, which one it is compared with.
        renoising: noise of the student's later calls, shape (n, calls - 1, *shape), or None like z.
        noised: real data to which noise is added for the inputs of later calls, instead of a rollout; shape of z.
    """

    t: Tensor
    x_T: Tensor
    eps: Tensor | None
    x_0: Tensor | None
    z: Tensor | None
    condition: Condition
    call: tuple[int, ...] | None = None
    renoising: Tensor | None = None
    noised: Tensor | None = None

    def __len__(self) -> int:
        return self.t.shape[0]

    @property
    def inputs(self) -> tuple[Tensor, Condition, Tensor | None, tuple[int, ...] | None, Tensor | None]:
        """Arguments of the student: `student(*draw.inputs)`."""
        assert self.z is not None, "a draw for generated samples"
        return self.z, self.condition, self.renoising, self.call, self.noised

    def select(self, part: slice) -> Draw:
        """The draw of some of the samples."""
        fields = (self.eps, self.x_0, self.z, self.renoising, self.noised)
        eps, x_0, z, renoising, noised = (None if f is None else f[part] for f in fields)
        condition, call = self.condition.select(part), None if self.call is None else self.call[part]
        return Draw(self.t[part], self.x_T[part], eps, x_0, z, condition, call, renoising, noised)

    def showing(self, x_0: Tensor) -> Draw:
        """The draw with images x_0, shape (n, *shape)."""
        return dataclasses.replace(self, x_0=x_0)


@dataclass(frozen=True)
class StepDraws:
    """All draws of one step of a distillation.

    Attributes:
        generated: of generated samples.
        real: of real data in the fake model's loss, or None.
        judged, judged_real: of the discriminator's samples, or None.
    """

    generated: Draw
    real: Draw | None = None
    judged: Draw | None = None
    judged_real: Draw | None = None

    def micro_batches(self, count: int) -> Iterator[StepDraws]:
        """`count` micro-batches, each with its rows of every draw."""
        draws = (self.generated, self.real, self.judged, self.judged_real)
        return itertools.starmap(StepDraws, zip(*(micro_batches(draw, count) for draw in draws), strict=True))


@overload
def micro_batches(draw: Draw, count: int) -> list[Draw]: ...
@overload
def micro_batches(draw: Draw | None, count: int) -> list[Draw] | list[None]: ...
def micro_batches(draw: Draw | None, count: int) -> list[Draw] | list[None]:
    """Split a draw into `count` nearly equal micro-batches; None gives a list of None."""
    if draw is None:
        return [None] * count
    bounds = [len(draw) * i // count for i in range(count + 1)]
    return [draw.select(slice(a, b)) for a, b in itertools.pairwise(bounds)]
