"""The random order of a run's data."""

from __future__ import annotations

import torch
from torch import Tensor

from realuid.errors import DataError
from realuid.seeds import stream


class Order:
    """An endless, reproducible order of samples: epoch e is a permutation seeded by (seed, e).

    The sample at a position depends on nothing else, so resuming needs only the position.

    Args:
        size: number of samples.
        seed: of the permutations.
        device: of the indices.
        repeat: whether a batch may be larger than the data, and hold samples more than once.
    """

    def __init__(self, size: int, seed: int, device: torch.device | str = "cpu", *, repeat: bool = False):
        self.size, self.seed, self.device, self.repeat = size, seed, device, repeat
        self._epochs: dict[int, Tensor] = {}

    def _epoch(self, number: int) -> Tensor:
        if number not in self._epochs:
            permutation = torch.randperm(self.size, generator=stream(self.seed, "order", number)).to(self.device)
            self._epochs = {k: v for k, v in self._epochs.items() if k == number - 1}
            self._epochs[number] = permutation
        return self._epochs[number]

    def indices(self, position: int, count: int) -> Tensor:
        """Indices of the samples at positions position, ..., position + count - 1; int64, shape (count,)."""
        if count > self.size and not self.repeat:
            raise DataError(f"a batch of {count} is larger than the data ({self.size} samples). Lower the batch size.")
        epoch, offset = divmod(position, self.size)
        head = self._epoch(epoch)[offset : offset + count]
        if len(head) == count:
            return head
        return torch.cat([head, self.indices((epoch + 1) * self.size, count - len(head))])
