"""Random draws of every step. They depend on (seed, role, update) only and are made for the whole batch, of which each
process takes its part: a run gives the same numbers on one process and on many, and resuming needs no random state.

Times and classes are stratified over the whole batch: each is distributed as if drawn independently, and together they
cover their range evenly, which takes their share out of the variance of gradients.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import torch
from torch import Tensor

from realuid.data import Column, Dataset, Order, random_flip, to_float
from realuid.data.columns import Values
from realuid.models import Condition, ConditionSpec, dropped
from realuid.models.networks.condition import LABEL, SOURCE
from realuid.models.networks.specs import label_spec, source_spec
from realuid.on_data import check_pairs
from realuid.paths import Path, sample_times, stratified
from realuid.seeds import mix, stream

#: Kinds of conditions that are images of the data's range, mirrored together with the data.
_IMAGES = ("source", "image")
#: Steps whose samples are read before they are asked for, where data is not in memory.
_AHEAD = 2


@dataclass(frozen=True)
class Draw:
    """What one step needs, for n samples.

    Attributes:
        t: times, shape (n,).
        x_T: source of the path, shape (n, *shape): noise, or where coupled the source of a real pair.
        eps: third Gaussian of the path, shape (n, *shape), or None where it has none.
        x_0: real data, shape (n, *shape), or None for generated samples.
        z: input of the generator, shape (n, *shape), or None for real data and images made before.
        condition: what the model declares; on a coupled path also the source, whether or not the network reads it.
        call: which of the student's calls makes the samples, counted from 0; one for the whole batch.
        renoising: noise of the student's later calls, shape (n, calls - 1, *shape), or None as z.
    """

    t: Tensor
    x_T: Tensor
    eps: Tensor | None
    x_0: Tensor | None
    z: Tensor | None
    condition: Condition
    call: int = 0
    renoising: Tensor | None = None

    def __len__(self) -> int:
        return self.t.shape[0]

    @property
    def inputs(self) -> tuple[Tensor, Condition, Tensor | None, int]:
        """What the student is called with: `student(*draw.inputs)`."""
        assert self.z is not None, "a draw for generated samples"
        return self.z, self.condition, self.renoising, self.call

    def select(self, part: slice) -> Draw:
        """The draw of some of the samples."""
        fields = (self.eps, self.x_0, self.z, self.renoising)
        eps, x_0, z, renoising = (None if f is None else f[part] for f in fields)
        return Draw(self.t[part], self.x_T[part], eps, x_0, z, self.condition.select(part), self.call, renoising)

    def showing(self, x_0: Tensor) -> Draw:
        """The draw with images in it."""
        return dataclasses.replace(self, x_0=x_0)


@dataclass(frozen=True)
class StepDraws:
    """All draws of one step of a distillation.

    Attributes:
        generated: of generated samples.
        real: of real data in the fake model's loss, or None.
        judged, judged_real: of samples that the discriminator judges, or None.
    """

    generated: Draw
    real: Draw | None = None
    judged: Draw | None = None
    judged_real: Draw | None = None

    def micro_batches(self, count: int) -> Iterator[StepDraws]:
        """So many micro-batches, each with its share of every draw."""
        draws = (self.generated, self.real, self.judged, self.judged_real)
        return itertools.starmap(StepDraws, zip(*(micro_batches(draw, count) for draw in draws), strict=True))


class Batches:
    """Makes the draws of a run.

    Args:
        data: the training data, on the device or too large for it; pairs where the path is coupled.
        path: which times and how many Gaussians to draw, and where x_T comes from.
        seed: of the run.
        flip: mirror real images at random.
        rank, world: this process and the number of them.
        window: share of the path's times that is drawn, those nearest to the data.
        conditions: what the model declares (`MatchingModel.conditions`); by default the data's classes and, on a
            coupled path, its sources.
        label_dropout: share of samples whose conditions are replaced by their nulls.
        calls: of the student that makes generated samples.
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
        conditions: Sequence[ConditionSpec] | None = None,
        label_dropout: float = 0.0,
        calls: int = 1,
        device: torch.device | None = None,
    ):
        check_pairs(path, data)
        self.data, self.path, self.seed, self.flip = data, path, seed, flip
        self.rank, self.world, self.window = rank, world, window
        self.conditions = _conditions_of(data, path) if conditions is None else tuple(conditions)
        self.label_dropout, self.calls = label_dropout, calls
        self.device = device or data.values.device
        labelled = any(spec.name == LABEL for spec in self.conditions)
        self._by_class = data.column(LABEL)[:].argsort(stable=True).cpu() if labelled else None
        self._orders: dict[str, Order] = {}

    def real(self, role: str, step: int, count: int) -> Draw:
        """Draws for real data. `role` names the stream; `step` counts that role's steps from 0."""
        order = self._orders.setdefault(role, Order(len(self.data), self.seed_of(role), self.data.values.device))
        index = self._mine(order.indices(step * count, count))
        self._read_ahead(lambda later: self._mine(order.indices(later * count, count)), step, with_values=True)
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
        if self.conditions or with_real:
            # drawn on the host, where the data may have stayed: an index from the device would have to be waited for
            which = random if self.device.type == "cpu" else stream(self.seed, role, step)
            index = self._any(which, count)
            self._read_ahead(lambda later: self._any(stream(self.seed, role, later), count), step, with_real)
        if with_real or any(spec.kind in _IMAGES for spec in self.conditions):
            mirror = self._mirror(random, count)
        x_0 = self._pick(self.data.values, index, mirror) if with_real else None  # type: ignore[arg-type]
        z = self._normal(random, count)
        draw = self._draw(random, count, index, mirror, x_0=x_0, z=z, times=times)
        yield dataclasses.replace(draw, call=self._call(role, step), renoising=self._renoising(role, step, count))
        for again in itertools.count(1):
            random = stream(self.seed, role, step, again, device=self.device)
            yield self._draw(random, count, index, mirror, x_0=None, z=None, times=times)

    def _any(self, random: torch.Generator, count: int) -> Tensor:
        """Numbers of random samples, every class as often as in the data, give or take one."""
        place = self._mine((stratified(count, random) * len(self.data)).long())
        return place if self._by_class is None else self._by_class[place]

    def _read_ahead(self, index_of: Callable[[int], Tensor], step: int, with_values: bool) -> None:
        """Have samples of the next steps read where they are not in memory; `index_of` says which those of a step are.

        Draws do not depend on it.
        """
        columns = [self.data.column(spec.name) for spec in self.conditions]
        columns += [self.data.values] if with_values else []
        if any(isinstance(column, Column) for column in columns):
            for later in range(step + 1, step + 1 + _AHEAD):
                self.data.prefetch(index_of(later), *columns)

    def _call(self, role: str, step: int) -> int:
        """The student's call that a batch trains or shows: uniform, the same on every process."""
        return mix(self.seed, role, step, "call") % self.calls

    def _renoising(self, role: str, step: int, count: int) -> Tensor:
        random = stream(self.seed, role, step, "renoising", device=self.device)
        size = (count, self.calls - 1, *self.data.shape)
        return self._mine(torch.randn(size, generator=random, device=self.device))

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

    def _take(self, column: Values, index: Tensor) -> Tensor:
        return handed_over(column[handed_over(index, column.device)], self.device)

    def _pick(self, images: Values, index: Tensor, mirror: Tensor | None) -> Tensor:
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
        condition = self._condition(index, mirror)
        t = self._mine(sample_times(times, self.path, self.window * stratified(count, random)))
        x_T = condition[SOURCE] if self.path.coupled else self._normal(random, count)
        eps = self._normal(random, count) if self.path.has_eps else None
        if self.label_dropout:
            rows = torch.rand(count, generator=random, device=self.device) < self.label_dropout
            condition = dropped(self.conditions, condition, self._mine(rows))
        return Draw(t=t, x_T=x_T, eps=eps, x_0=x_0, z=z, condition=condition)

    def _condition(self, index: Tensor | None, mirror: Tensor | None) -> Condition:
        """The columns of the data that the model declares; images in [-1, 1] and mirrored as the data are."""
        columns: dict[str, Tensor] = {}
        for spec in self.conditions:
            assert index is not None, "an index into the data wherever there are conditions"
            column = self.data.column(spec.name)
            picked = spec.kind in _IMAGES
            columns[spec.name] = self._pick(column, index, mirror) if picked else self._take(column, index)
        return Condition(columns)


def _conditions_of(data: Dataset, path: Path) -> tuple[ConditionSpec, ...]:
    label = [] if data.labels is None else [label_spec(data.num_classes)]
    return (*label, *([source_spec(data.shape)] if path.coupled else []))


def handed_over(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on a device, from the host by way of pinned memory: it is copied while the host goes on."""
    if tensor.device.type == "cpu" and device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


@overload
def micro_batches(draw: Draw, count: int) -> list[Draw]: ...
@overload
def micro_batches(draw: Draw | None, count: int) -> list[Draw] | list[None]: ...
def micro_batches(draw: Draw | None, count: int) -> list[Draw] | list[None]:
    """Split a draw into so many nearly equal micro-batches; None stays None."""
    if draw is None:
        return [None] * count
    bounds = [len(draw) * i // count for i in range(count + 1)]
    return [draw.select(slice(a, b)) for a, b in itertools.pairwise(bounds)]
