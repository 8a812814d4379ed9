"""What a network may know besides x_t and t."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Condition(NamedTuple):
    """Class labels and / or the source image of a coupled path. Absent parts are None.

    labels: int64, shape (b,). x_T: shape (b, *d), in data units.
    """

    labels: Tensor | None = None
    x_T: Tensor | None = None

    def select(self, index: slice | Tensor) -> Condition:
        """The same condition for a part of the batch."""
        return Condition(*(None if part is None else part[index] for part in self))

    @staticmethod
    def cat(conditions: list[Condition]) -> Condition:
        """Join the conditions of several batches; each part is present in all of them or in none."""
        columns = zip(*conditions, strict=True)
        return Condition(*(None if column[0] is None else torch.cat(column) for column in columns))
