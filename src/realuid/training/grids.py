"""Fixed prompts of the sample grids that are made during training."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from realuid.data.captions import read_prompts
from realuid.loaders.prompts import prompt_condition
from realuid.models import Condition, MatchingModel

#: Prompts that are columns of a grid at most; of more, samples are in rows of eight.
_COLUMNS, _ROW = 16, 8


@dataclass(frozen=True)
class GridPrompts:
    """Encoded prompts.

    Attributes:
        condition: one row for each prompt.
        count: of prompts.
    """

    condition: Condition
    count: int

    def of(self, samples: int) -> tuple[Condition, int]:
        """The condition of about as many samples, every prompt equally often, and how many stand in a row."""
        rows = torch.arange(self.count * max(1, samples // self.count)) % self.count
        return self.condition.select(rows), self.count if self.count <= _COLUMNS else _ROW


def grid_prompts(file: str | None, model: MatchingModel) -> GridPrompts | None:
    """The prompts of a file as a model reads them; None without a file.

    Raises:
        ConfigError: for a model that reads none, or does not say how.
        DataError: for a file that cannot be read, or holds none.
    """
    if file is None:
        return None
    prompts = read_prompts(file)
    return GridPrompts(prompt_condition(model, prompts, len(prompts)), len(prompts))
