"""Metrics of images made for prompts: similarity to the caption, its retrieval, and diversity within a prompt."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from realuid.errors import ConfigError
from realuid.metrics.joint import JointSpace

#: Images embedded at a time.
_BATCH = 500


@dataclass(frozen=True)
class PromptScores:
    """Scores of images of prompts; all are higher for better models.

    Attributes:
        similarity: mean cosine of an image and its own caption.
        retrieval: fraction of images to which their own caption is the most similar of all captions.
        diversity: mean distance between the embeddings of two images of one prompt; compare it with the teacher's.
    """

    similarity: float
    retrieval: float
    diversity: float

    def to_dict(self) -> dict[str, float]:
        """Plain numbers for JSON."""
        return dataclasses.asdict(self)


@torch.no_grad()
def prompt_scores(space: JointSpace, images: Tensor, prompts: Sequence[str], captions: Sequence[str]) -> PromptScores:
    """Compare images with the prompts that they were made for.

    Args:
        space: joint space of images and captions.
        images: uint8, shape (n, c, h, w).
        prompts: of each image; those of one prompt are compared with each other.
        captions: all distinct captions to choose from, the prompts among them.

    Raises:
        ConfigError: for a prompt that is not among the captions, or fewer than two captions.
    """
    if len(set(captions)) != len(captions) or len(captions) < 2:
        raise ConfigError(f"{len(captions)} captions: needed are at least two, each once.")
    number = {caption: i for i, caption in enumerate(captions)}
    if unknown := sorted(set(prompts) - number.keys()):
        raise ConfigError(f"the prompt '{unknown[0][:80]}' is not among the captions to choose from. Add it.")
    own = torch.tensor([number[prompt] for prompt in prompts])
    seen = torch.cat([space.images(part).float().cpu() for part in images.split(_BATCH)])
    cosines = seen @ space.captions(captions).float().cpu().mT
    return PromptScores(
        similarity=cosines[torch.arange(len(own)), own].mean().item(),
        retrieval=(cosines.argmax(1) == own).float().mean().item(),
        diversity=diversity(seen, own),
    )


def diversity(features: Tensor, prompt: Tensor) -> float:
    """Mean Euclidean distance between two images of one prompt, averaged over prompts.

    Args:
        features: of the images, shape (n, d).
        prompt: number of each image's prompt, shape (n,); NaN where no prompt has two images.
    """
    means = []
    for number in prompt.unique():
        if len(mine := features[prompt == number]) > 1:
            means.append(torch.pdist(mine.double()).mean())
    return torch.stack(means).mean().item() if means else float("nan")
