"""Evaluation of text-to-image models: images of given prompts, compared with their captions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from realuid.data import Dataset, load_dataset, to_uint8
from realuid.data.captions import read_prompts
from realuid.data.coloured_digits import COLOURED, combination, read_colours
from realuid.errors import ConfigError
from realuid.loaders.prompts import load_prompt_encoder, what_is_read
from realuid.metrics import EfficientNet, classifier
from realuid.metrics.joint import CLIP, JointSpace, small_space
from realuid.metrics.prompts import prompt_scores
from realuid.metrics.skin_tones import right_tones
from realuid.models import MatchingModel
from realuid.models.prompts import PromptEncoder
from realuid.on_data.prompts import distinct, encode_prompts
from realuid.recipes.sections import EvaluateConfig
from realuid.reports.prompts import ShownPrompts
from realuid.sampling import OneStep, SamplingOptions, generate_each_call
from realuid.seeds import mix

#: Captions of the data that are measured with at most, evenly spaced, where no prompts are named.
_MOST = 500
#: Joint spaces that are trained on the data: on its images, or on their features.
SMALL, ON_FEATURES = "small", "efficientnet"


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


def prompts_of(data: Dataset, config: EvaluateConfig) -> Prompts | None:
    """What models of captioned data are measured with; None if they read no prompts.

    Args:
        data: with embeddings of its captions, made now or by `realuid prepare`, if models read prompts.
        config: says which prompts, by default captions of the data.

    Raises:
        ConfigError: for a file or data without prompts.
    """
    if not (texts := texts_of(data, config)):
        return None
    encoder = load_prompt_encoder(data.text_from.source)
    return Prompts(texts, encoder, _space(data, encoder, config.joint))


def texts_of(data: Dataset, config: EvaluateConfig) -> Sequence[str]:
    """The prompts of `prompts_of`; none if models of the data read none.

    Raises:
        ConfigError: for a file or data without prompts.
        DataError: for one that cannot be read.
    """
    if not data.text_from.source:
        return []
    if config.prompts:
        return prompts_from(config.prompts)
    texts, _ = distinct(_captions(data))
    return [texts[i * len(texts) // _MOST] for i in range(_MOST)] if len(texts) > _MOST else texts


def _space(data: Dataset, encoder: PromptEncoder, name: str) -> JointSpace:
    if name in (SMALL, ON_FEATURES):
        return small_space(data, encoder, extractor=EfficientNet() if name == ON_FEATURES else None)
    return CLIP(name)


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
        data: that it was trained on; readers of what images show (`READERS`) may need it.
        prompts: `config.per_prompt` images are made for each.
        config: number of images, and the sampler of a teacher.

    Returns:
        similarity, retrieval and diversity (see `PromptScores`), further fractions of images that show what their
        prompt says and, of a student of several calls, the same for each number of calls as `by_calls`.
    """
    texts, each = prompts.texts, config.per_prompt
    asked = [text for text in texts for _ in range(each)]
    rows = torch.arange(len(texts)).repeat_interleave(each)
    how: SamplingOptions = {
        "condition": what_is_read(model, encode_prompts(texts, prompts.encoder)).select(rows),
        "steps": config.steps,
        "sampler": config.sampler,
        "guidance": config.guidance,
    }
    batches = list(generate_each_call(model, len(asked), seed=mix("prompts", 0), **how))
    measured = []
    for kind in zip(*batches, strict=True):
        images = torch.cat([to_uint8(batch).cpu() for batch in kind])
        shown = {name: share for read in READERS for name, share in read(data, images, asked).items()}
        measured.append(prompt_scores(prompts.space, images, asked, texts).to_dict() | shown)
    return {**measured[-1], **({"by_calls": measured} if len(measured) > 1 else {})}


def read_coloured_digits(data: Dataset, images: Tensor, prompts: Sequence[str]) -> dict[str, float]:
    """Fractions of images that show the digit of their prompt (by a classifier) and both of its colours (in pixels)."""
    if data.name != COLOURED:
        return {}
    digit, ink, ground = torch.tensor([combination(prompt) for prompt in prompts]).unbind(1)
    # seed 1: quick FDs on the way use the features of the classifier of seed 0
    seen = torch.cat([classifier(data, seed=1).logits(part).argmax(1) for part in images.split(500)])
    found = read_colours(images)
    return {
        "digit": (seen == digit).float().mean().item(),
        "colours": ((found[0] == ink) & (found[1] == ground)).float().mean().item(),
    }


def read_skin_tones(data: Dataset, images: Tensor, prompts: Sequence[str]) -> dict[str, float]:
    """Of emoji that are asked for in a skin tone, the fraction that shows it (in pixels)."""
    share = right_tones(images, prompts)
    return {} if share is None else {"skin_tone": share}


#: Compare images with their prompts part by part, where these are of a kind that they know.
READERS: Sequence[Callable[[Dataset, Tensor, Sequence[str]], dict[str, float]]] = (
    read_coloured_digits,
    read_skin_tones,
)
