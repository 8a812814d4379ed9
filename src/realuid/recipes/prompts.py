"""Evaluation of text-to-image models: images of given prompts, compared with their captions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from realuid.data import Dataset, load_dataset, to_uint8
from realuid.data.captions import read_prompts
from realuid.data.coloured_digits import COLOURED, combination, read_colours
from realuid.errors import ConfigError
from realuid.loaders.prompts import load_prompt_encoder
from realuid.metrics import classifier
from realuid.metrics.joint import CLIP, JointSpace, small_space
from realuid.metrics.prompts import prompt_scores
from realuid.models import MatchingModel
from realuid.models.prompts import PromptEncoder
from realuid.on_data.prompts import distinct, encode_prompts
from realuid.recipes.config import Recipe
from realuid.recipes.sections import EvaluateConfig
from realuid.reports.prompts import ShownPrompts
from realuid.sampling import OneStep, SamplingOptions, generate_each_call
from realuid.seeds import mix

#: The joint space that is trained on the data.
SMALL = "small"


@dataclass(frozen=True)
class Prompts:
    """Prompts to measure models with.

    Attributes:
        texts: distinct.
        encoder: of the models' prompts.
        space: of images and captions.
    """

    texts: Sequence[str]
    encoder: PromptEncoder
    space: JointSpace

    @property
    def shown(self) -> ShownPrompts:
        """For the pictures of a report."""
        return ShownPrompts(self.texts, encode_prompts(self.texts, self.encoder))

    def unseen(self, data: Dataset) -> bool:
        """Whether no image of the data has one of these captions."""
        return set(self.texts).isdisjoint(_captions(data))


def prompts_of(recipe: Recipe, data: Dataset) -> Prompts | None:
    """What a recipe's models are measured with; None if they read no prompts.

    Args:
        recipe: whose evaluation says which prompts, by default all captions of the data.
        data: the recipe's, loaded.

    Raises:
        ConfigError: for a file or data without prompts.
    """
    source, config = recipe.data.prompt_encoder, recipe.evaluate
    if source is None:
        return None
    encoder = load_prompt_encoder(source)
    space = small_space(data, encoder) if config.joint == SMALL else CLIP(config.joint)
    return Prompts(prompts_from(config.prompts) if config.prompts else distinct(_captions(data))[0], encoder, space)


def prompts_from(source: str) -> list[str]:
    """Distinct prompts in order: lines of a text file, or the captions of data.

    Raises:
        ConfigError: where there are fewer than two.
        DataError: for a file or data that cannot be read.
    """
    lines = read_prompts(source) if source.endswith(".txt") else _captions(load_dataset(source))
    prompts, _ = distinct(lines)
    if len(prompts) < 2:
        raise ConfigError(f"prompts = {source}: {len(prompts)} prompts, but at least two are needed to be told apart.")
    return prompts


def _captions(data: Dataset) -> list[str]:
    return [caption for caption in data.captions if caption]


def evaluate_prompts(
    model: MatchingModel | OneStep, data: Dataset, prompts: Prompts, config: EvaluateConfig
) -> dict[str, Any]:
    """Metrics of images made for prompts, after 1, 2, ... calls of a student from the same rollouts.

    Args:
        model: a text-conditional teacher or student.
        data: that it was trained on; of `coloured-digits`, digits and colours are compared with the prompt as well.
        prompts: `config.per_prompt` images are made for each.
        config: number of images, and the sampler of a teacher.

    Returns:
        similarity, retrieval and diversity (see `PromptScores`), further fractions of images that show what their
        prompt says and, of a student of several calls, the same for each number of calls as `by_calls`.
    """
    texts, each = prompts.texts, config.per_prompt
    asked = [text for text in texts for _ in range(each)]
    condition = encode_prompts(texts, prompts.encoder).select(torch.arange(len(texts)).repeat_interleave(each))
    how: SamplingOptions = {
        "condition": condition,
        "steps": config.steps,
        "sampler": config.sampler,
        "guidance": config.guidance,
    }
    batches = list(generate_each_call(model, len(asked), seed=mix("prompts", 0), **how))
    measured = []
    for kind in zip(*batches, strict=True):
        images = torch.cat([to_uint8(batch).cpu() for batch in kind])
        shown = READERS[data.name](data, images, asked) if data.name in READERS else {}
        measured.append(prompt_scores(prompts.space, images, asked, texts).to_dict() | shown)
    return {**measured[-1], **({"by_calls": measured} if len(measured) > 1 else {})}


def read_coloured_digits(data: Dataset, images: Tensor, prompts: Sequence[str]) -> dict[str, float]:
    """Fractions of images that show the digit of their prompt (by a classifier) and both of its colours (in pixels)."""
    digit, ink, ground = torch.tensor([combination(prompt) for prompt in prompts]).unbind(1)
    # seed 1: quick FDs on the way use the features of the classifier of seed 0
    seen = torch.cat([classifier(data, seed=1).logits(part).argmax(1) for part in images.split(500)])
    found = read_colours(images)
    return {
        "digit": (seen == digit).float().mean().item(),
        "colours": ((found[0] == ink) & (found[1] == ground)).float().mean().item(),
    }


#: Names of data whose images can be compared with their captions part by part.
READERS: Mapping[str, Callable[[Dataset, Tensor, Sequence[str]], dict[str, float]]] = {COLOURED: read_coloured_digits}
