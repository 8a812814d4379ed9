"""Fixed embeddings of words: what they depend on, masks, and limits."""

from __future__ import annotations

import pytest
import torch

from realuid.errors import ConfigError
from realuid.loaders.prompts import load_prompt_encoder
from realuid.loaders.words import MOST_WORDS, WIDTH


def test_prompts_of_different_lengths_are_padded_and_masked() -> None:
    encoder = load_prompt_encoder("words")
    both = encoder.encode(["a red seven on blue", "Seven!"])
    assert both["text"].shape == (2, 6, WIDTH) and both["text_mask"].sum(1).tolist() == [6, 2]
    alone = encoder.encode(["seven"])
    assert torch.equal(both["text"][1, :2], alone["text"][0]) and both["text"][1, 2:].eq(0).all()


def test_embeddings_depend_on_word_and_position() -> None:
    encoder = load_prompt_encoder("words")
    text = encoder.encode(["red on red", "red at blue"])["text"]
    assert torch.equal(text[0, 1], text[1, 1])  # the same word at the same place
    assert not torch.allclose(text[0, 1], text[0, 3])  # the same word elsewhere
    assert not torch.allclose(text[0, 3], text[1, 3])  # another word at the same place


def test_words_are_told_apart() -> None:
    """Random directions in 64 dimensions: cosines of different words have a standard deviation of 1 / 8."""
    encoder = load_prompt_encoder("words")
    words = torch.cat([encoder.encode([f"word{i}"])["text"][:, 1] for i in range(50)])
    words = torch.nn.functional.normalize(words - words.mean(0), dim=1)
    cosines = words @ words.mT
    off = cosines[~torch.eye(50, dtype=torch.bool)]
    assert off.abs().max() < 0.6 and abs(off.std() - 1 / 8) < 0.02


def test_the_null_is_the_empty_prompt() -> None:
    encoder = load_prompt_encoder("words")
    assert torch.equal(encoder.null()["text"], encoder.encode([""])["text"]) and encoder.null()["text_mask"].all()


def test_a_long_prompt_is_refused() -> None:
    encoder = load_prompt_encoder("words")
    encoder.encode(["word " * MOST_WORDS])
    with pytest.raises(ConfigError, match=f"has {MOST_WORDS + 1} words: the encoder reads at most {MOST_WORDS}"):
        encoder.encode(["word " * (MOST_WORDS + 1)])


def test_an_unknown_encoder_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown prompt encoder 'word'"):
        load_prompt_encoder("word")
