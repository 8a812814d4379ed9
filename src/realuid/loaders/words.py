"""Fixed random embeddings of words: a prompt encoder that needs no weights, for demos and tests."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence

import torch
from torch import Tensor

from realuid.errors import ConfigError
from realuid.models.networks.condition import Condition, of_one_length
from realuid.models.prompts import TEXT, TEXT_MASK

#: Width of an embedding, and words that a prompt may have at most.
WIDTH, MOST_WORDS = 64, 76
#: The token that every prompt starts with, and the only one of the empty prompt.
_START = "<start>"


class Words:
    """Words to embeddings: standard normal numbers that the word determines, plus sinusoids of its position.

    Any word has one, in lower case and without punctuation; equal words have equal embeddings at equal positions.
    """

    source = "words"
    fingerprint = "words-1"

    def encode(self, prompts: Sequence[str]) -> Condition:
        """`TEXT`, float32, shape (b, length, 64), and `TEXT_MASK`, bool, shape (b, length).

        Raises:
            ConfigError: for a prompt of more than 76 words.
        """
        tokens = [[_START, *re.findall(r"[^\W_]+", prompt.lower())] for prompt in prompts]
        for prompt, found in zip(prompts, tokens, strict=True):
            if len(found) > MOST_WORDS + 1:
                raise ConfigError(
                    f"the prompt '{prompt[:40]}...' has {len(found) - 1} words: the encoder reads at most {MOST_WORDS}."
                )
        texts = [torch.stack([_word(token) for token in found]) + _positions(len(found)) for found in tokens]
        longest = max(texts, key=len)
        padded = [of_one_length([text[None], longest[None]])[0] for text in texts]
        lengths = torch.tensor([len(text) for text in texts])
        return Condition({TEXT: torch.cat(padded), TEXT_MASK: torch.arange(len(longest)) < lengths[:, None]})

    def null(self) -> Condition:
        """The condition of the empty prompt."""
        return self.encode([""])


def _word(token: str) -> Tensor:
    seed = int.from_bytes(hashlib.sha256(token.encode()).digest()[:7])
    return torch.randn(WIDTH, generator=torch.Generator().manual_seed(seed))


def _positions(length: int) -> Tensor:
    """Sinusoidal embeddings of positions (Vaswani et al. 2017), shape (length, 64)."""
    rates = torch.exp(-math.log(10_000) * torch.arange(WIDTH // 2) / (WIDTH // 2))
    angles = torch.arange(length)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)
