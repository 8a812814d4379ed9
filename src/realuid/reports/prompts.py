"""Pictures of prompts: what every model makes of the same text and the same noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from realuid.data import grid_image
from realuid.loaders.prompts import what_is_read
from realuid.models import Condition, MatchingModel, Student
from realuid.reports.page import png_uri
from realuid.sampling import SamplingOptions, generate

#: Prompts that a page shows, images of each, and the seed of their noise.
_MOST, _EACH, _SEED = 8, 4, 7


@dataclass(frozen=True)
class ShownPrompts:
    """Prompts for a page.

    Attributes:
        texts: of the prompts.
        condition: the prompts as they were encoded, one row each.
    """

    texts: Sequence[str]
    condition: Condition


@dataclass(frozen=True)
class PromptRow:
    """One prompt and a picture of each model, as data: URIs."""

    text: str
    pictures: Sequence[str]


def prompt_rows(
    models: Mapping[str, MatchingModel | Student], shown: ShownPrompts, how: SamplingOptions
) -> list[PromptRow]:
    """Pictures of some of the prompts, evenly spaced: four images a model, of the same noise for all models."""
    chosen = torch.linspace(0, len(shown.texts) - 1, min(_MOST, len(shown.texts))).long()
    condition = shown.condition.select(chosen.repeat_interleave(_EACH))
    found = {}
    for name, model in models.items():
        options: SamplingOptions = {**how, "condition": what_is_read(model, condition)}
        images = torch.cat([x.cpu() for x in generate(model, len(chosen) * _EACH, seed=_SEED, **options)])
        found[name] = [png_uri(grid_image(part, _EACH)) for part in images.split(_EACH)]
    return [
        PromptRow(shown.texts[number], [found[name][i] for name in models]) for i, number in enumerate(chosen.tolist())
    ]
