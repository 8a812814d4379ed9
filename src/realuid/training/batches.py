"""Random draws of every step, as functions of (seed, role, update).

Each process takes its rows of the draws for the whole batch: they are the same for any number of processes, and
resuming needs no random state. Times and classes are stratified over the whole batch: their marginal distributions are
those of independent draws, and their contribution to the variance of gradients is removed.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from realuid.data import Dataset, Order, random_flip, to_float
from realuid.data.columns import Values
from realuid.data.dataset import Prompts
from realuid.devices import handed_over
from realuid.models import Condition, ConditionSpec, dropped
from realuid.models.networks.condition import CALL, LABEL, SOURCE
from realuid.models.networks.specs import label_spec, source_spec
from realuid.on_data import check_pairs, condition_columns, read_conditions
from realuid.paths import Path, phase_bounds, sample_times, stratified
from realuid.processes import WHOLE, Part
from realuid.seeds import mix, stream
from realuid.training.draws import Draw

#: Kinds of conditions that are images in the data's range, flipped together with the data.
_IMAGES = ("source", "image")
#: Number of steps whose samples are read ahead when data is not in memory.
_AHEAD = 2


@dataclass(frozen=True)
class DrawOptions:
    """Options of draws that differ between runs.

    Attributes:
        window: fraction of the path's times that is drawn, those nearest to the data.
        label_dropout: fraction of samples whose conditions are replaced by their nulls.
        calls: of the student; if there are several, conditions have an entry `CALL`.
        from_data: inputs of later calls are real data with noise.
        phases: times of the calls, if each is judged at times between its own and the next one only.
        repeat: a batch of real data may be larger than the data, and hold samples more than once.
        reals: number of batches of real data that an update draws from one stream, all of one size of the data.
    """

    window: float = 1.0
    label_dropout: float = 0.0
    calls: int = 1
    from_data: bool = False
    phases: tuple[float, ...] = ()
    repeat: bool = False
    reals: int = 1


class Batches:
    """The draws of a run.

    Args:
        data: the training data, on the device or too large for it; pairs on coupled paths.
        path: determines times, number of Gaussians and the origin of x_T.
        seed: of the run.
        flip: flip real images horizontally at random.
        part: index and number of processes.
        conditions: what the model declares (`MatchingModel.conditions`); by default the data's classes and, on a
            coupled path, its sources.
        device: of the draws. None: the data's.
        options: see `DrawOptions`.

    Raises:
        DataError: for a coupled path without pairs.
    """

    def __init__(
        self,
        data: Dataset,
        path: Path,
        seed: int,
        flip: bool = False,
        part: Part = WHOLE,
        *,
        conditions: Sequence[ConditionSpec] | None = None,
        device: torch.device | None = None,
        options: DrawOptions = DrawOptions(),
    ):
        check_pairs(path, data)
        self.data, self.path, self.seed, self.flip, self.part = data, path, seed, flip, part
        self.conditions = _conditions_of(data, path) if conditions is None else tuple(conditions)
        self.window, self.label_dropout = options.window, options.label_dropout
        self.calls, self.from_data, self.phases = options.calls, options.from_data, options.phases
        self.repeat = options.repeat
        self.device = device or data.values.device
        labelled = any(spec.name == LABEL for spec in self.conditions)
        self._by_class = data.column(LABEL)[:].argsort(stable=True).cpu() if labelled else None
        self._orders: dict[str, Order] = {}

    def real(self, role: str, step: int, count: int) -> Draw:
        """Draws for real data. `role` names the stream; `step` counts that role's steps from 0."""
        device = self.data.values.device
        order = self._orders.setdefault(role, Order(len(self.data), self.seed_of(role), device, repeat=self.repeat))
        index = self._mine(order.indices(step * count, count))
        self._read_ahead(lambda later: self._mine(order.indices(later * count, count)), step, True, self.data)
        random = stream(self.seed, role, step, device=self.device)
        mirror = self._mirror(random, count)
        x_0 = self._pick(self.data.values, index, mirror)
        condition = self._condition(index, mirror, self.data)
        return self._draw(random, self._calls(role, step, count), condition, x_0=x_0)

    def generated(self, role: str, step: int, count: int, times: str = "path", with_real: bool = False) -> Draw:
        """Draws for generated samples; class and, on coupled paths, x_T are those of a random real sample; prompts too,
        unless the data has a list of them (`Dataset.prompts`).

        The frequency of every class in a batch is that in the data, up to one sample. `times` names a distribution in
        `realuid.paths.TIMES`. `with_real` adds that real sample to the draw as x_0.
        """
        return next(self.turn(role, step, count, times, with_real))

    def turn(self, role: str, step: int, count: int, times: str = "path", with_real: bool = False) -> Iterator[Draw]:
        """Infinitely many draws for the same generated samples, each with its own times and noise.

        The first one is `generated`; the others have no z, since its images can be reused.
        """
        random = stream(self.seed, role, step, device=self.device)
        index = mirror = None
        shown = with_real or self.from_data
        told = self.data if shown or self.data.prompts is None else self.data.prompts
        if self.conditions or shown:
            # drawn on the host, where the data may be: an index on the device would need a synchronisation
            which = random if self.device.type == "cpu" else stream(self.seed, role, step)
            index = self._any(which, count, told)
            self._read_ahead(lambda later: self._any(stream(self.seed, role, later), count, told), step, shown, told)
        if shown or any(spec.kind in _IMAGES for spec in self.conditions):
            mirror = self._mirror(random, count)
        real = self._pick(self.data.values, index, mirror) if shown else None  # type: ignore[arg-type]
        z = self._normal(random, count)
        calls, renoising = self._calls(role, step, count), self._renoising(role, step, count)
        condition = self._condition(index, mirror, told)
        draw = self._draw(random, calls, condition, x_0=real if with_real else None, times=times)
        yield dataclasses.replace(draw, z=z, renoising=renoising, noised=real if self.from_data else None)
        for again in itertools.count(1):
            random = stream(self.seed, role, step, again, device=self.device)
            yield self._draw(random, calls, condition, times=times)

    def _any(self, random: torch.Generator, count: int, told: Dataset | Prompts) -> Tensor:
        """Indices of random samples or prompts, shape (count,), with class frequencies of the data up to one sample."""
        place = self._mine((stratified(count, random) * len(told)).long())
        return place if self._by_class is None or told is not self.data else self._by_class[place]

    def _read_ahead(
        self, index_of: Callable[[int], Tensor], step: int, with_values: bool, told: Dataset | Prompts
    ) -> None:
        """Start reading the samples of the next steps if data is not in memory; draws do not depend on it."""
        columns = condition_columns(self.conditions, told) + [self.data.values] * with_values
        self.data.prefetch(columns, map(index_of, range(step + 1, step + 1 + _AHEAD)))

    def _calls(self, role: str, step: int, count: int) -> list[int]:
        """The call of every sample of a whole batch: all in turn, from a random one on.

        Each call makes as many samples as any other, give or take one, in every batch, micro-batch and process.
        """
        first = mix(self.seed, role, step, "call") % self.calls
        return [(first + i) % self.calls for i in range(count)]

    def _renoising(self, role: str, step: int, count: int) -> Tensor:
        random = stream(self.seed, role, step, "renoising", device=self.device)
        size = (count, self.calls - 1, *self.data.shape)
        return self._mine(torch.randn(size, generator=random, device=self.device))

    def seed_of(self, role: str) -> int:
        """Seed of a role's order of the data."""
        return stream(self.seed, role).initial_seed()

    def _mine(self, whole: Tensor) -> Tensor:
        """This process's rows of a draw for the whole batch."""
        return whole[self.part.share(len(whole))]

    def _normal(self, random: torch.Generator, count: int) -> Tensor:
        return self._mine(torch.randn(count, *self.data.shape, generator=random, device=self.device))

    def _mirror(self, random: torch.Generator, count: int) -> Tensor | None:
        """Random numbers that decide which pairs are flipped, shape (count,), or None."""
        return self._mine(torch.rand(count, generator=random, device=self.device)) if self.flip else None

    def _take(self, column: Values, index: Tensor) -> Tensor:
        return handed_over(column[handed_over(index, column.device)], self.device)

    def _pick(self, images: Values, index: Tensor, mirror: Tensor | None) -> Tensor:
        x = to_float(self._take(images, index))
        return x if mirror is None else random_flip(x, mirror)

    def _draw(
        self,
        random: torch.Generator,
        calls: list[int],
        condition: Condition,
        x_0: Tensor | None = None,
        times: str = "path",
    ) -> Draw:
        """The draw of samples that these calls make, one for each of the whole batch, without z."""
        count = len(calls)
        t = self._mine(sample_times(times, self.path, self._uniform(random, calls, times)))
        x_T = condition[SOURCE] if self.path.coupled else self._normal(random, count)
        eps = self._normal(random, count) if self.path.has_eps else None
        if self.label_dropout:
            rows = torch.rand(count, generator=random, device=self.device) < self.label_dropout
            condition = dropped(self.conditions, condition, self._mine(rows))
        call = tuple(calls[self.part.share(count)])
        if self.calls > 1:
            condition = condition.replace(**{CALL: torch.tensor(call, device=self.device)})
        return Draw(t=t, x_T=x_T, eps=eps, x_0=x_0, z=None, condition=condition, call=call)

    def _uniform(self, random: torch.Generator, calls: list[int], times: str) -> Tensor:
        """Uniform random numbers that times are made of; in phases each from the interval of its call."""
        uniform = self.window * stratified(len(calls), random)
        if not self.phases:
            return uniform
        low, high = phase_bounds(times, self.path, self.phases)
        first = torch.tensor([low[call] for call in calls], device=self.device)
        width = torch.tensor([high[call] - low[call] for call in calls], device=self.device)
        return first + width * uniform

    def _condition(self, index: Tensor | None, mirror: Tensor | None, told: Dataset | Prompts) -> Condition:
        """What the model declares, of samples or prompts; images are in [-1, 1] and flipped like the data."""
        if not self.conditions:
            return Condition()
        assert index is not None, "an index into the data wherever there are conditions"
        images = [spec for spec in self.conditions if spec.kind in _IMAGES]
        others = [spec for spec in self.conditions if spec.kind not in _IMAGES]
        read = {name: handed_over(v, self.device) for name, v in read_conditions(others, told, index).items()}
        return Condition(read | {s.name: self._pick(told.column(s.name), index, mirror) for s in images})


def _conditions_of(data: Dataset, path: Path) -> tuple[ConditionSpec, ...]:
    label = [] if data.labels is None else [label_spec(data.num_classes)]
    return (*label, *([source_spec(data.shape)] if path.coupled else []))
