"""Encoders of prompts: what turns text into the conditions that a text-to-image model reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from realuid.models.networks.condition import Condition

#: Entries of a `Condition` that an encoder makes: embeddings of tokens, shape (b, length, width); which of them are
#: text, bool, shape (b, length); and one embedding of the whole prompt, shape (b, width).
TEXT, TEXT_MASK, POOLED = "text", "text_mask", "pooled"


class PromptEncoder(Protocol):
    """The text encoders of one family of models, with their tokenizers.

    Attributes:
        source: what it is loaded from: a folder, a Hub id or a name.
        fingerprint: changes if the same prompt may be encoded differently.
    """

    @property
    def source(self) -> str: ...

    @property
    def fingerprint(self) -> str: ...

    def encode(self, prompts: Sequence[str]) -> Condition:
        """Conditions of prompts, one row each, on the CPU: `TEXT` and, where they are read, `TEXT_MASK` and `POOLED`.

        Raises:
            ConfigError: for a prompt that is longer than the model reads.
        """
        ...

    def null(self) -> Condition:
        """The unconditional condition, one row with the entries of `encode`."""
        ...
