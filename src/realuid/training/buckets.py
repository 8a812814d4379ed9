"""Draws from data in several sizes: every update is of one size, which follows from (seed, update)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TypeAlias

import torch

from realuid.data import Dataset, Order
from realuid.models import ConditionSpec
from realuid.paths import Path
from realuid.processes import Part
from realuid.seeds import mix
from realuid.training.batches import Batches, DrawOptions
from realuid.training.draws import Draw


class Sizes:
    """The size of every update, each as often as the data has it.

    An update has the size of a random sample, all samples in turn: after as many updates as there are samples, every
    size was taken exactly as often as it has samples.

    Args:
        counts: number of samples of each size.
        seed: of the order.
    """

    def __init__(self, counts: Sequence[int], seed: int):
        self._counts, self._ends = list(counts), torch.tensor(counts).cumsum(0)
        self._order = Order(int(self._ends[-1]), seed)
        self._round, self._size, self._before = -1, torch.empty(0), torch.empty(0)

    def at(self, update: int) -> tuple[int, int]:
        """The size of an update, and how many earlier updates had the same."""
        rounds, place = divmod(update, self._order.size)
        if rounds != self._round:
            samples = self._order.indices(rounds * self._order.size, self._order.size)
            self._size = torch.bucketize(samples, self._ends, right=True).to(torch.int32)
            self._before = torch.empty(len(samples), dtype=torch.int32)
            for size, count in enumerate(self._counts):
                self._before[self._size == size] = torch.arange(count, dtype=torch.int32)
            self._round = rounds
        size = int(self._size[place])
        return size, rounds * self._counts[size] + int(self._before[place])


class SizedBatches:
    """`Batches` for each size of the data, one of which every update takes.

    Args:
        data: with `others`.
        each: of every size.
        seed: of the order of sizes.
        reals: number of batches of real data that an update draws from one stream.
    """

    def __init__(self, data: Dataset, each: Sequence[Batches], seed: int, reals: int = 1):
        self.data, self.part, self._each, self._reals = data, each[0].part, each, reals
        self._sizes = Sizes([len(batches.data) for batches in each], mix(seed, "sizes"))

    def real(self, role: str, step: int, count: int) -> Draw:
        """As of `Batches`: real data of the size of the update that a step belongs to."""
        update, which = divmod(step, self._reals)
        size, number = self._sizes.at(update)
        return self._each[size].real(role, number * self._reals + which, count)

    def generated(self, role: str, step: int, count: int, times: str = "path", with_real: bool = False) -> Draw:
        """As of `Batches`: noise of the update's size, conditioned like samples of that size."""
        return next(self.turn(role, step, count, times, with_real))

    def turn(self, role: str, step: int, count: int, times: str = "path", with_real: bool = False) -> Iterator[Draw]:
        """As of `Batches`."""
        size, number = self._sizes.at(step)
        return self._each[size].turn(role, number, count, times, with_real)


AnyBatches: TypeAlias = Batches | SizedBatches


def batches_of(
    data: Dataset,
    path: Path,
    seed: int,
    flip: bool,
    part: Part,
    *,
    conditions: Sequence[ConditionSpec],
    device: torch.device,
    options: DrawOptions,
) -> AnyBatches:
    """The draws of a run, from data in one size or several; arguments as of `Batches`."""
    several = bool(data.others)
    options = dataclasses.replace(options, repeat=several)
    seeds = [mix(seed, "size", number) for number in range(len(data.sizes))] if several else [seed]
    each = [
        Batches(one, path, own, flip, part, conditions=conditions, device=device, options=options)
        for one, own in zip(data.sizes, seeds, strict=True)
    ]
    return SizedBatches(data, each, seed, options.reals) if several else each[0]
