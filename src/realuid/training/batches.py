"""Random draws of every step. They depend on (seed, role, update) only and are made for the whole batch, of which each
process takes its part: a run gives the same numbers on one process and on many, and resuming needs no random state.

Times and classes are stratified over the whole batch: each is distributed as if drawn independently, and together they
cover their range evenly, which takes their share out of the variance of gradients.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import overload

import torch
from torch import Tensor

from realuid.data import Dataset, Order, check_pairs, random_flip, to_float
from realuid.models import Condition
from realuid.paths import Path, sample_times, stratified
from realuid.seeds import stream


@dataclass(frozen=True)
class Draw:
    """What one step needs, for n samples.

    Attributes:
        t: times, shape (n,).
        x_T: source of the path, shape (n, *shape): noise, or where coupled the source of a real pair.
        eps: third Gaussian of the path, shape (n, *shape), or None where it has none.
        x_0: real data, shape (n, *shape), or None for generated samples.
        z: input of the generator, shape (n, *shape), or None for real data and images made before.
        condition: labels and, where coupled, x_T; networks read what they were built to see.
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

    def showing(self, x_0: Tensor) -> Draw:
        """The draw with images in it."""
        return dataclasses.replace(self, x_0=x_0)


class Batches:
    """Makes the draws of a run.

    Args:
        data: the training data, on the device or too large for it; pairs where the path is coupled.
        path: which times and how many Gaussians to draw, and where x_T comes from.
        seed: of the run.
        flip: mirror real images at random.
        rank, world: this process and the number of them.
        window: share of the path's times that is drawn, those nearest to the data.
        label_dropout, null_label: share of labels replaced, and by which.
        device: of the draws. None: the data's.

    Raises:
        DataError: for a coupled path without pairs.
    """

    def __init__(
        self,
        data: Dataset,
        path: Path,
        seed: int,
        flip: bool = False,
        rank: int = 0,
        world: int = 1,
        *,
        window: float = 1.0,
        label_dropout: float = 0.0,
        null_label: int = 0,
        device: torch.device | None = None,
    ):
        check_pairs(path, data)
        self.data, self.path, self.seed, self.flip = data, path, seed, flip
        self.rank, self.world, self.window = rank, world, window
        self.label_dropout, self.null_label = label_dropout, null_label
        self.device = device or data.values.device
        self._by_class = None if data.labels is None else data.labels.argsort(stable=True).cpu()
        self._orders: dict[str, Order] = {}

    def real(self, role: str, step: int, count: int) -> Draw:
        """Draws for real data. `role` names the stream; `step` counts that role's steps from 0."""
        order = self._orders.setdefault(role, Order(len(self.data), self.seed_of(role), self.data.values.device))
        index = self._mine(order.indices(step * count, count))
        random = stream(self.seed, role, step, device=self.device)
        mirror = self._mirror(random, count)
        x_0 = self._pick(self.data.values, index, mirror)
        return self._draw(random, count, index, mirror, x_0=x_0, z=None)

    def generated(self, role: str, step: int, count: int, times: str = "path", with_real: bool = False) -> Draw:
        """Draws for generated samples; class and, where coupled, x_T are those of a random real sample.

        Every class is as often in a batch as in the data, give or take one. `times` names the distribution of times in
        `realuid.paths.TIMES`. `with_real` puts that real sample into the draw as x_0.
        """
        return next(self.turn(role, step, count, times, with_real))

    def turn(self, role: str, step: int, count: int, times: str = "path", with_real: bool = False) -> Iterator[Draw]:
        """Draws without end for the same generated samples, each at times and with noise of its own.

        The first one is `generated`; the others are for those who have its images, and come without z.
        """
        random = stream(self.seed, role, step, device=self.device)
        index = mirror = None
        if self.data.labels is not None or self.path.coupled or with_real:
            # drawn on the host, where the data may have stayed: an index from the device would have to be waited for
            which = random if self.device.type == "cpu" else stream(self.seed, role, step)
            place = self._mine((stratified(count, which) * len(self.data)).long())
            index = place if self._by_class is None else self._by_class[place]
        if self.path.coupled or with_real:
            mirror = self._mirror(random, count)
        x_0 = self._pick(self.data.values, index, mirror) if with_real else None  # type: ignore[arg-type]
        z = self._normal(random, count)
        yield self._draw(random, count, index, mirror, x_0=x_0, z=z, times=times)
        for again in itertools.count(1):
            random = stream(self.seed, role, step, again, device=self.device)
            yield self._draw(random, count, index, mirror, x_0=None, z=None, times=times)

    def seed_of(self, role: str) -> int:
        """Seed of the order in which a role goes through the data."""
        return stream(self.seed, role).initial_seed()

    def _mine(self, whole: Tensor) -> Tensor:
        """This process's part of what was drawn for the whole batch."""
        count = len(whole)
        return whole[count * self.rank // self.world : count * (self.rank + 1) // self.world]

    def _normal(self, random: torch.Generator, count: int) -> Tensor:
        return self._mine(torch.randn(count, *self.data.shape, generator=random, device=self.device))

    def _mirror(self, random: torch.Generator, count: int) -> Tensor | None:
        """Random numbers that say which pairs are mirrored, or None."""
        return self._mine(torch.rand(count, generator=random, device=self.device)) if self.flip else None

    def _take(self, column: Tensor, index: Tensor) -> Tensor:
        return handed_over(column[handed_over(index, column.device)], self.device)

    def _pick(self, images: Tensor, index: Tensor, mirror: Tensor | None) -> Tensor:
        x = to_float(self._take(images, index))
        return x if mirror is None else random_flip(x, mirror)

    def _draw(
        self,
        random: torch.Generator,
        count: int,
        index: Tensor | None,
        mirror: Tensor | None,
        x_0: Tensor | None,
        z: Tensor | None,
        times: str = "path",
    ) -> Draw:
        labels = None if self.data.labels is None else self._take(self.data.labels, index)  # type: ignore[arg-type]
        t = self._mine(sample_times(times, self.path, self.window * stratified(count, random)))
        source = self._pick(self.data.sources, index, mirror) if self.path.coupled else None  # type: ignore[arg-type]
        x_T = self._normal(random, count) if source is None else source
        eps = self._normal(random, count) if self.path.has_eps else None
        if labels is not None and self.label_dropout:
            dropped = torch.rand(count, generator=random, device=self.device) < self.label_dropout
            labels = labels.masked_fill(self._mine(dropped), self.null_label)
        return Draw(t=t, x_T=x_T, eps=eps, x_0=x_0, z=z, condition=Condition(labels=labels, x_T=source))


def handed_over(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on a device, from the host by way of pinned memory: it is copied while the host goes on."""
    if tensor.device.type == "cpu" and device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


@overload
def micro_batches(draw: Draw, parts: int) -> list[Draw]: ...
@overload
def micro_batches(draw: Draw | None, parts: int) -> list[Draw] | list[None]: ...
def micro_batches(draw: Draw | None, parts: int) -> list[Draw] | list[None]:
    """Split a draw into nearly equal parts, for gradient accumulation; None stays None."""
    if draw is None:
        return [None] * parts
    bounds = [len(draw) * i // parts for i in range(parts + 1)]
    return [draw.select(slice(a, b)) for a, b in itertools.pairwise(bounds)]
