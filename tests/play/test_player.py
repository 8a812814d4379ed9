"""What the playground computes is what `sample` computes, and it refuses what a person cannot mean."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import small_teacher
from PIL import Image

import realuid
from realuid.data import grid_image
from realuid.errors import ConfigError
from realuid.loaders.words import Words
from realuid.models import Generator, MatchingModel, NetworkConfig, build_network
from realuid.paths import make_path
from realuid.play.player import EVERY, Asked, Player


def bridge() -> MatchingModel:
    """A tiny bridge with random weights."""
    torch.manual_seed(3)
    network = build_network(NetworkConfig(channels=(8, 16), blocks=1, attention_at=()), (1, 8, 8), sees_source=True)
    return MatchingModel(network, make_path("brownian_bridge"))


def test_it_shows_what_sample_returns() -> None:
    student = Generator(small_teacher(num_classes=3), calls=2)
    player = Player(student, small_teacher(num_classes=3))
    assert player.labels == [EVERY, "0", "1", "2"] and player.calls == [1, 2]
    shown = player.play(Asked(seed=5, count=4, label="2", calls=1))
    expected = grid_image(realuid.sample(student, 4, seed=5, labels=2, calls=1), 2, 12)
    assert np.array_equal(np.asarray(shown.picture), np.asarray(expected))
    assert (shown.calls, shown.count) == (1, 4) and shown.text.startswith("4 images in ")
    assert shown.text.endswith(", 1 network call each")
    beside = player.play_teacher(Asked(seed=5, count=4, steps=3))
    teacher = realuid.sample(player.teacher, 4, seed=5, labels=[0, 1, 2, 0], steps=3)
    assert beside is not None and beside.text.endswith(", 3 network calls each")
    assert np.array_equal(np.asarray(beside.picture), np.asarray(grid_image(teacher, 2, 12)))


def test_an_uploaded_image_is_cropped_and_comes_first() -> None:
    student = Generator(bridge())
    player = Player(student)
    assert player.labels == [] and player.play_teacher(Asked()) is None
    levels = np.repeat(np.repeat(np.arange(64, dtype=np.uint8).reshape(8, 8) * 4, 2, 0), 2, 1)
    wide = np.pad(levels, ((0, 0), (5, 5)))  # its middle is the image
    shown = player.play(Asked(count=2, image=Image.fromarray(wide)))
    source = torch.from_numpy(levels[::2, ::2].copy())[None, None].float() / 127.5 - 1
    x = realuid.sample(student, 2, sources=source.expand(2, 1, 8, 8))
    assert np.array_equal(np.asarray(shown.picture), np.asarray(grid_image(torch.cat([source, x]), 2, 12)))
    with pytest.raises(ConfigError, match="Upload one"):
        player.play(Asked())


def prompted() -> MatchingModel:
    """A tiny network with random weights that reads prompts of words."""
    torch.manual_seed(4)
    config = NetworkConfig(channels=(8, 8), blocks=1, attention_at=(4,), head_channels=8)
    model = MatchingModel(build_network(config, (1, 8, 8), text=64), make_path("linear")).eval()
    model.prompts = "words"
    return model


def test_prompts_are_columns_and_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, encode, encoded = ("a red seven", "two"), Words.encode, []
    monkeypatch.setattr(Words, "encode", lambda self, texts: encoded.append(list(texts)) or encode(self, texts))
    teacher = prompted()
    student = Generator(prompted(), calls=2)
    student.about = {"distillation": {"guidance": 2.0}}
    player = Player(student, teacher)
    assert player.prompted and player.guidance == 2
    beside = player.play_teacher(Asked(seed=3, count=4, steps=2, prompts=asked, guidance=2.0))
    shown = player.play(Asked(seed=3, count=4, calls=1, prompts=asked))
    assert encoded.count(list(asked)) == 1
    expected = realuid.sample(student, 4, seed=3, calls=1, prompts=asked)
    assert np.array_equal(np.asarray(shown.picture), np.asarray(grid_image(expected, 2, 12)))
    expected = realuid.sample(teacher, 4, seed=3, steps=2, guidance=2.0, prompts=asked)
    assert beside is not None and np.array_equal(np.asarray(beside.picture), np.asarray(grid_image(expected, 2, 12)))
    three = player.play(Asked(count=6, prompts=("one", "two", "three"))).picture
    assert three.size == grid_image(torch.zeros(6, 1, 8, 8), 3, 12).size
    with pytest.raises(ConfigError, match=r"reads prompts\. Write one"):
        player.play(Asked())
    student.model.prompts = ""
    with pytest.raises(ConfigError, match="does not say how it reads them"):
        Player(student)
    assert Player(student, prompt_encoder="words").guidance is None
    assert Player(Generator(small_teacher()), small_teacher()).guidance is None


def test_what_it_refuses() -> None:
    student = Generator(small_teacher(num_classes=3))
    with pytest.raises(ConfigError, match="is a teacher"):
        Player(small_teacher())  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"shape \(1, 4, 4\)"):
        Player(student, small_teacher((1, 4, 4)))
    with pytest.raises(ConfigError, match="only one of them starts from images"):
        Player(student, bridge())
    for asked in (Asked(count=0), Asked(count=65), Asked(seed=-1), Asked(label="9"), Asked(calls=2)):
        with pytest.raises(ConfigError):
            Player(student).play(asked)
