"""--start of `realuid train`: a teacher is trained further on data."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import diffusers_folders as folders
import pytest
import torch
from diffusers import DDIMScheduler

import realuid
from realuid.cli.main import main
from realuid.data import Dataset
from realuid.errors import ConfigError
from realuid.loaders import load_teacher
from realuid.models import MLP, MatchingModel, save_pretrained
from realuid.models.teacher import Teacher
from realuid.paths import make_path
from realuid.training import TeacherConfig

RECIPE = """
name: points
data: {source: "toy:moons", conditional: true}
network: {architecture: mlp, channels: [64], blocks: 2}
teacher: {updates: 6, batch: 8, lr: 1.0e-2, save_every: 3, device: cpu}
"""


@pytest.fixture
def teacher() -> MatchingModel:
    """Of the data's form, but neither of the recipe's network nor of its path."""
    torch.manual_seed(0)
    return MatchingModel(MLP(2, width=16, depth=1, num_classes=2), make_path("vp"), "noise_prediction")


@pytest.fixture
def words(teacher: MatchingModel, tmp_path: Path) -> list[str]:
    (tmp_path / "points.yaml").write_text(RECIPE)
    save_pretrained(teacher, tmp_path / "first")
    return ["train", str(tmp_path / "points.yaml"), "--start", str(tmp_path / "first")]


def weights_of(run: Path) -> dict[str, torch.Tensor]:
    return dict(load_teacher(run).state_dict())


def test_its_network_and_path_are_kept_and_an_interrupted_run_goes_on(words, teacher, tmp_path: Path) -> None:
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    assert main([*words, "--out", str(whole)]) == 0
    assert main([*words, "--updates", "3", "--out", str(halves)]) == 0
    assert main(["train", "--resume", "--updates", "6", "--out", str(halves)]) == 0
    found = load_teacher(whole)
    assert (type(found.network), found.path.name, found.prediction) == (MLP, "vp", "noise_prediction")
    config = json.loads((whole / "model" / "config.json").read_text())
    assert config["start"]["teacher"] == str(tmp_path / "first")
    before = teacher.state_dict()
    for name, value in weights_of(halves).items():
        assert torch.equal(value, found.state_dict()[name])
    assert any(not torch.equal(value, before[name]) for name, value in found.state_dict().items())
    assert all(torch.equal(value, before[name]) for name, value in weights_of(tmp_path / "first").items())


def test_it_starts_from_the_teacher_s_weights(words, teacher, tmp_path: Path) -> None:
    """At a rate of nothing, its average is the teacher."""
    assert main([*words, "--lr", "1e-30", "--out", str(tmp_path / "run")]) == 0
    for name, value in weights_of(tmp_path / "run").items():
        torch.testing.assert_close(value, teacher.state_dict()[name])


def test_a_teacher_of_other_data_learns_these(tmp_path: Path) -> None:
    """In one dimension: a teacher of N(-1, 1) is trained further on N(1.5, 0.4^2)."""
    torch.manual_seed(0)
    model = MatchingModel(MLP(1, width=32, depth=1, num_classes=0), make_path("linear"))
    draw = torch.randn(4096, 1, generator=torch.Generator().manual_seed(1))
    config = TeacherConfig(updates=150, batch=128, lr=5e-3, lr_decay="cosine", ema=(0.9,), device="cpu")
    wrong = realuid.train(Dataset(draw - 1, name="wrong"), tmp_path / "wrong", start=model, config=config)
    right = realuid.train(Dataset(1.5 + 0.4 * draw, name="right"), tmp_path / "right", start=wrong, config=config)
    for teacher, mean in ((wrong, -1.0), (right, 1.5)):
        assert realuid.sample(teacher, 4000, steps=20).mean() == pytest.approx(mean, abs=0.15)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--network.channels", "8"], "--start with settings of network or path"),
        (["--path.name", "vp"], "--start with settings of network or path"),
        (["--start", "none"], "--start none: leave --start out"),
        (["--data.source", "digits"], "the model makes samples of shape (2,)"),
        (["--start", "nowhere"], "nowhere"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(options, said: str, words, tmp_path: Path, capsys) -> None:
    assert main([*words, *options, "--out", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert said in error and len(error.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_a_key_without_a_start_is_refused(words, tmp_path: Path, capsys) -> None:
    assert main([*words[:2], "--key", "raw", "--out", str(tmp_path / "run")]) == 2
    assert "--key without --start" in capsys.readouterr().err


def test_a_function_cannot_be_trained(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no weights to train"):
        realuid.train("toy:moons", tmp_path / "run", start=Teacher(lambda x, t: x, (2,)))
    assert not (tmp_path / "run").exists()


def test_a_teacher_on_latents_learns_latents(tmp_path: Path) -> None:
    """Images are encoded once and the autoencoder stays as it is; at a rate of nothing the average is the teacher."""
    teacher = load_teacher(folders.save_dit(tmp_path / "dit", folders.dit(), DDIMScheduler()))
    images = torch.randint(0, 256, (12, 3, 16, 16), dtype=torch.uint8)
    data = Dataset(images, torch.arange(12) % 5, "noise", tuple("abcde"))
    config = TeacherConfig(updates=2, batch=4, lr=1e-30, sample_every=2, steps=2, device="cpu")
    further = realuid.train(data, tmp_path / "run", start=teacher, config=config)
    assert (tmp_path / "run" / "samples" / "0000002.png").is_file()
    for name, value in teacher.state_dict().items():
        torch.testing.assert_close(further.state_dict()[name], value)
    before, after = teacher.codec.autoencoder.state_dict(), further.codec.autoencoder.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    with pytest.raises(ConfigError, match="flipped latents"):
        flipped = dataclasses.replace(config, flip=True)
        realuid.train(data, tmp_path / "other", start=teacher, config=flipped)
