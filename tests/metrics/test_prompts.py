"""Metrics of images and captions: against brute force, and of spaces that are trained or loaded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from realuid.data import load_dataset
from realuid.data.coloured_digits import held_out_captions
from realuid.errors import ConfigError
from realuid.loaders.words import Words
from realuid.metrics.joint import CLIP, JointSpace, train_small_space
from realuid.metrics.prompts import diversity, prompt_scores


class Planes(JointSpace):
    """Images and captions that are angles: the first pixel, and the number in the caption, in degrees."""

    key = "planes"

    def images(self, x: Tensor) -> Tensor:
        return _unit(x[:, 0, 0, 0].float())

    def captions(self, captions: Sequence[str]) -> Tensor:
        return _unit(torch.tensor([float(text) for text in captions]))


def _unit(degrees: Tensor) -> Tensor:
    radians = degrees * math.pi / 180
    return torch.stack([radians.cos(), radians.sin()], dim=1)


def test_scores_are_those_of_angles() -> None:
    images = torch.tensor([10, 30, 80, 100], dtype=torch.uint8).view(4, 1, 1, 1)
    scores = prompt_scores(Planes(), images, ["0", "0", "90", "0"], ["0", "90", "180"])
    cosine = [math.cos(math.radians(d)) for d in (10, 30, 10, 100)]
    assert scores.similarity == pytest.approx(sum(cosine) / 4, abs=1e-6)
    assert scores.retrieval == pytest.approx(3 / 4)  # the last one is nearer to 90
    apart = [2 * math.sin(math.radians(d) / 2) for d in (20, 90, 70)]
    assert scores.diversity == pytest.approx(sum(apart) / 3, abs=1e-6)  # of prompt 0 alone: 90 has one image


def test_diversity_is_the_mean_over_prompts() -> None:
    features = torch.tensor([[0.0, 0], [3, 4], [1, 1], [1, 1], [2, 1], [9, 9]])
    prompt = torch.tensor([0, 0, 5, 5, 5, 7])
    assert diversity(features, prompt) == pytest.approx((5 + (0 + 1 + 1) / 3) / 2)
    assert math.isnan(diversity(features[:1], prompt[:1]))


def test_captions_to_choose_from_hold_the_prompts() -> None:
    images = torch.zeros(1, 1, 1, 1, dtype=torch.uint8)
    with pytest.raises(ConfigError, match="the prompt '45' is not among the captions"):
        prompt_scores(Planes(), images, ["45"], ["0", "90"])
    with pytest.raises(ConfigError, match="2 captions: needed are at least two, each once"):
        prompt_scores(Planes(), images, ["0"], ["0", "0"])


@pytest.mark.slow
def test_a_small_space_retrieves_captions_it_has_not_seen() -> None:
    """Of held-out combinations, of which colour and digit are known apart; one of 60 by chance."""
    data, other = load_dataset("coloured-digits"), load_dataset("coloured-digits:held-out")
    space = train_small_space(data, Words(), updates=800)
    asked = [str(caption) for caption in other.captions[:1000]]
    scores = prompt_scores(space, other.take(slice(0, 1000)).values, asked, held_out_captions())
    assert scores.retrieval > 0.8


@pytest.mark.slow
def test_clip_of_a_folder_equals_transformers(tmp_path: Path) -> None:
    """A small random CLIP with a tokenizer of eight words; images already of its size need no resizing."""
    transformers = pytest.importorskip("transformers")
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    torch.manual_seed(0)
    small = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {**small, "vocab_size": 16, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    vision = {**small, "image_size": 16, "patch_size": 8}
    model = transformers.CLIPModel(
        transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)
    ).eval()
    model.save_pretrained(tmp_path)
    words = Tokenizer(WordLevel({"[start]": 0, "[pad]": 1, "a": 2, "red": 3, "seven": 4, "[unk]": 5}, "[unk]"))
    words.pre_tokenizer = Whitespace()
    transformers.PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[pad]", unk_token="[unk]").save_pretrained(
        tmp_path
    )
    space = CLIP(tmp_path)
    images = torch.randint(256, (3, 3, 16, 16), dtype=torch.uint8)
    mean, std = (
        torch.tensor(v)[:, None, None]
        for v in ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
    )
    with torch.no_grad():
        wanted = model.get_image_features(pixel_values=(images / 255 - mean) / std).pooler_output
        tokens = {"input_ids": torch.tensor([[2, 3], [4, 1]]), "attention_mask": torch.tensor([[1, 1], [1, 0]])}
        words_wanted = model.get_text_features(**tokens).pooler_output
    torch.testing.assert_close(space.images(images), wanted / wanted.norm(dim=1, keepdim=True))
    torch.testing.assert_close(
        space.captions(["a red", "seven"]), words_wanted / words_wanted.norm(dim=1, keepdim=True)
    )
    with pytest.raises(ConfigError, match="no CLIP model can be loaded"):
        CLIP(tmp_path / "nowhere")
