"""Prompt encoders by name: what turns prompts into the conditions that a text-to-image model reads."""

from __future__ import annotations

from collections.abc import Callable

from realuid.errors import ConfigError, unknown_name
from realuid.loaders.words import Words
from realuid.models.prompts import PromptEncoder

#: Encoders that come with realuid, by name.
ENCODERS: dict[str, Callable[[], PromptEncoder]] = {"words": Words}


def load_prompt_encoder(source: str) -> PromptEncoder:
    """The prompt encoder of this name.

    Raises:
        ConfigError: for an unknown name.
    """
    if source not in ENCODERS:
        raise ConfigError(unknown_name("prompt encoder", source, ENCODERS))
    return ENCODERS[source]()
