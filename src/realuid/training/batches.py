"""Random draws of every step. They depend on (seed, role, update) only and are made for the whole batch, of which each
process takes its part: a run gives the same numbers on one process and on many, and resuming needs no random state."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor

from realuid.data import Dataset, Order, random_flip, to_float
from realuid.models import Condition
from realuid.paths import Path
from realuid.seeds import stream


@dataclass(frozen=True)
class Draw:
    """What one step needs, for n samples.

    Attributes:
        t: times, shape (n,).
        x_T: source of the path, shape (n, *shape).
        eps: third Gaussian of the path, shape (n, *shape), or None where it has none.
        x_0: real data, shape (n, *shape), or None for generated samples.
        z: input of the generator, shape (n, *shape), or None for real data.
        condition: labels and / or x_T.
    """

    t: Tensor
    x_T: Tensor
    eps: Tensor | None
    x_0: Tensor | None
    z: Tensor | None
    condition: Condition

    def __len__(self) -> int:
        return self.t.shape[0]

    def select(self, part: slice) -> Draw:
        """The draw of some of the samples."""
        eps, x_0, z = (None if f is None else f[part] for f in (self.eps, self.x_0, self.z))
        return Draw(self.t[part], self.x_T[part], eps, x_0, z, self.condition.select(part))


class Batches:
    """Makes the draws of a run.

    Args:
        data: the training data, on the device.
        path: which times and how many Gaussians to draw.
        seed: of the run.
        flip: mirror real images at random.
        rank, world: this process and the number of them.
        window: share of the path's times that is drawn, those nearest to the data.
    """

    def __init__(
        self,
        data: Dataset,
        path: Path,
        seed: int,
        flip: bool = False,
        rank: int = 0,
        world: int = 1,
        window: float = 1.0,
    ):
        self.data, self.path, self.seed, self.flip = data, path, seed, flip
        self.rank, self.world, self.window = rank, world, window
        self.device = data.values.device
        self._orders: dict[str, Order] = {}

    def real(self, role: str, step: int, count: int) -> Draw:
        """Draws for real data. `role` names the stream; `step` counts that role's steps from 0."""
        order = self._orders.setdefault(role, Order(len(self.data), self.seed_of(role), self.device))
        index = order.indices(step * count, count)
        random = stream(self.seed, role, step, device=self.device)
        x_0 = to_float(self.data.values[index])
        if self.flip:
            x_0 = random_flip(x_0, torch.rand(count, generator=random, device=self.device))
        labels = None if self.data.labels is None else self.data.labels[index]
        return self._mine(self._draw(random, count, x_0=x_0, z=None, labels=labels))

    def generated(self, role: str, step: int, count: int) -> Draw:
        """Draws for generated samples; classes are those of random real samples."""
        random = stream(self.seed, role, step, device=self.device)
        labels = None
        if self.data.labels is not None:
            labels = self.data.labels[torch.randint(len(self.data), (count,), generator=random, device=self.device)]
        z = self._normal(random, count)
        return self._mine(self._draw(random, count, x_0=None, z=z, labels=labels))

    def seed_of(self, role: str) -> int:
        """Seed of the order in which a role goes through the data."""
        return stream(self.seed, role).initial_seed()

    def _normal(self, random: torch.Generator, count: int) -> Tensor:
        return torch.randn(count, *self.data.shape, generator=random, device=self.device)

    def _draw(
        self, random: torch.Generator, count: int, x_0: Tensor | None, z: Tensor | None, labels: Tensor | None
    ) -> Draw:
        t = self.path.sample_time(self.window * torch.rand(count, generator=random, device=self.device))
        x_T = self._normal(random, count)
        eps = self._normal(random, count) if self.path.has_eps else None
        return Draw(t=t, x_T=x_T, eps=eps, x_0=x_0, z=z, condition=Condition(labels=labels))

    def _mine(self, draw: Draw) -> Draw:
        bounds = [len(draw) * i // self.world for i in range(self.world + 1)]
        return draw.select(slice(bounds[self.rank], bounds[self.rank + 1])) if self.world > 1 else draw


def micro_batches(draw: Draw | None, parts: int) -> list[Draw | None]:
    """Split a draw into nearly equal parts, for gradient accumulation; None stays None."""
    if draw is None:
        return [None] * parts
    bounds = [len(draw) * i // parts for i in range(parts + 1)]
    return [draw.select(slice(a, b)) for a, b in itertools.pairwise(bounds)]
