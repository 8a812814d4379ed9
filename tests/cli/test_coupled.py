"""A coupled path from the command line: pairs made on the fly, trained, distilled, sampled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from realuid.cli.main import main
from realuid.models import from_pretrained
from realuid.models.saving import read_config

RECIPE = """
data: {source: digits, pairs: sr-box-2}
network: {channels: [8, 16], blocks: 1, attention_at: []}
path: {name: interpolant, settings: {coupled: true, gamma: sqrt, noise: 0.5}}
teacher: {updates: 2, batch: 8, device: cpu}
distill: {updates: 1, batch: 8, fake_updates: 1, alpha: 0.9, beta: 0.95, device: cpu}
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A teacher and a student of the recipe."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "bridge.yaml").write_text(RECIPE)
    recipe = str(folder / "bridge.yaml")
    assert main(["train", recipe, "--out", str(folder / "teacher")]) == 0
    assert main(["distill", recipe, "--teacher", str(folder / "teacher"), "--out", str(folder / "student")]) == 0
    return folder


def test_settings_reach_the_model_and_its_folder(runs: Path) -> None:
    student = from_pretrained(runs / "student" / "model")
    assert student.model.path.coupled and student.model.path.noise == 0.5 and student.model.network.sees_source
    said = read_config(runs / "student" / "model")["data"]
    assert said["source"] == "digits" and said["pairs"] == "sr-box-2"


@pytest.mark.parametrize("model", ["teacher", "student"])
def test_samples_come_from_the_data_the_model_was_trained_on(runs: Path, model: str, digits, tmp_path: Path) -> None:
    arguments = ["sample", str(runs / model), "--count", "4", "--steps", "2"]
    assert main([*arguments, "--out", str(tmp_path / "x.png")]) == 0
    picture = np.asarray(Image.open(tmp_path / "x.png"))
    truth = digits.values[3, 0].numpy()  # the fourth triple's last image
    assert np.array_equal(picture[2:34, 2 + 34 * 11 : 34 * 12][::4, ::4], truth)
    assert main([*arguments, "--out", str(tmp_path / "folder")]) == 0
    assert len(list((tmp_path / "folder").iterdir())) == 4


def test_pairs_that_are_missing_are_asked_for(runs: Path, capsys, tmp_path: Path) -> None:
    arguments = ["train", str(runs / "bridge.yaml"), "--data.pairs", "None", "--out", str(tmp_path / "run")]
    assert main(arguments) == 2
    assert "a coupled path needs pairs" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "run").exists()


def test_settings_of_paths_are_options(runs: Path, capsys) -> None:
    def said(*arguments: str) -> str:
        assert main([*arguments, "--dry-run"]) == 0
        return " ".join(capsys.readouterr().out.split())

    recipe, teacher = str(runs / "bridge.yaml"), str(runs / "teacher")
    changed = ("--path.settings.gamma", "sin2", "--path.settings.noise", "0.25")
    shown = said("train", recipe, *changed, "--path.no-sees-source", "--path.prediction", "velocity_and_noise")
    assert "settings: {coupled: true, gamma: sin2, noise: 0.25}" in shown and "sees_source: false" in shown
    added = ("--path.name", "interpolant", "--path.settings", "coupled", "True", "mean", "linear", "noise", "0.5")
    shown = said("train", "demo", *added, "--data.pairs", "sr-box-2")
    assert "settings: {coupled: true, mean: linear, noise: 0.5}" in shown
    shown = said("distill", recipe, "--teacher", teacher, "--noise", "False", "--generator-times", "grid")
    assert "noise: false" in shown and "generator_times: grid" in shown
