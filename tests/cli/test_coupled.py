"""A coupled path from the command line: pairs made on the fly, trained, distilled, sampled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from realuid.cli.main import main
from realuid.models import from_pretrained
from realuid.models.saving.folder import read_config

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
    words = ["distill", recipe, "--teacher", str(folder / "teacher"), "--trust-teacher"]
    assert main([*words, "--out", str(folder / "student")]) == 0
    return folder


def test_settings_reach_the_model_and_its_folder(runs: Path) -> None:
    student = from_pretrained(runs / "student" / "model")
    assert student.model.path.coupled and student.model.path.noise == 0.5 and student.model.network.sees_source
    said = read_config(runs / "student" / "model")["data"]
    assert said["source"] == "digits" and said["pairs"] == "sr-box-2"


@pytest.mark.parametrize("model", ["teacher", "student"])
def test_samples_come_from_the_data_the_model_was_trained_on(runs: Path, model: str, digits, tmp_path: Path) -> None:
    arguments = ["sample", str(runs / model), "--count", "4", *(["--steps", "2"] if model == "teacher" else [])]
    assert main([*arguments, "--out", str(tmp_path / "x.png")]) == 0
    picture = np.asarray(Image.open(tmp_path / "x.png"))
    truth = digits.values[3, 0].numpy()  # the fourth triple's last image
    assert np.array_equal(picture[2:66, 2 + 66 * 11 : 66 * 12][::8, ::8], truth)
    assert main([*arguments, "--out", str(tmp_path / "folder")]) == 0
    assert len(list((tmp_path / "folder").iterdir())) == 4


def test_pairs_that_are_missing_are_asked_for(runs: Path, capsys, tmp_path: Path) -> None:
    arguments = ["train", str(runs / "bridge.yaml"), "--data.pairs", "None", "--out", str(tmp_path / "run")]
    assert main(arguments) == 2
    assert "a coupled path needs pairs" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "run").exists()


def test_another_path_comes_without_the_settings_of_the_recipes(capsys) -> None:
    def path_of(*arguments: str) -> dict:
        assert main(["train", *arguments, "--dry-run"]) == 0
        return yaml.safe_load(capsys.readouterr().out.partition("parameters: ")[0])["path"]

    usual = {"prediction": None, "settings": {}, "preconditioning": None, "sees_source": True}
    assert path_of("digits-bridge", "--path.name", "i2sb") == usual | {"name": "i2sb"}
    assert path_of("digits-bridge", "--path.name=i2sb", "--path.no-sees-source")["sees_source"] is False
    assert path_of("digits-vp", "--path.name", "linear") == usual | {"name": "linear"}
    kept = path_of("digits-bridge", "--path.name", "brownian_bridge", "--path.prediction", "drift")
    assert (kept["settings"], kept["prediction"]) == ({"noise": 0.5}, "drift")
    steps = path_of("demo", "--path.name", "ddpm", "--path.settings.num-train-timesteps", "100")
    assert steps["settings"] == {"num_train_timesteps": 100}


def test_settings_that_a_path_does_not_have_are_named(capsys) -> None:
    assert main(["train", "digits-bridge", "--path.settings.gamma", "sqrt"]) == 2
    assert "--path.settings.gamma: path 'brownian_bridge' has no such setting. Allowed: --path.settings.noise." in said(
        capsys
    )
    assert main(["train", "digits-bridge", "--path.settings", "noise", "1"]) == 2
    assert "--path.settings: path 'brownian_bridge' has no such setting. Allowed: --path.settings.noise." in said(
        capsys
    )
    assert main(["train", "demo", "--path.settings.noise=1"]) == 2
    assert "--path.settings.noise: path 'linear' has no such setting. Allowed: none." in said(capsys)
    assert main(["train", "digits-bridge", "--path.settings.noise", "-1"]) == 2
    assert "noise = -1.0: must be positive" in said(capsys)


def said(capsys: pytest.CaptureFixture) -> str:
    return " ".join(capsys.readouterr().err.split())


def test_settings_of_paths_are_options(runs: Path, capsys) -> None:
    def said(*arguments: str) -> str:
        assert main([*arguments, "--dry-run"]) == 0
        return " ".join(capsys.readouterr().out.split())

    def path_of(*arguments: str) -> dict:
        assert main([*arguments, "--dry-run"]) == 0
        return yaml.safe_load(capsys.readouterr().out.partition("parameters: ")[0])["path"]

    recipe, teacher = str(runs / "bridge.yaml"), str(runs / "teacher")
    changed = ("--path.settings.gamma", "sin2", "--path.settings.noise", "0.25")
    path = path_of("train", recipe, *changed, "--path.no-sees-source", "--path.prediction", "velocity_and_noise")
    assert path["settings"] == {"coupled": True, "gamma": "sin2", "noise": 0.25} and path["sees_source"] is False
    added = ("--path.name", "interpolant", "--path.settings.coupled", "True", "--path.settings.noise=0.5")
    path = path_of("train", "demo", *added, "--data.pairs", "sr-box-2")
    assert path["name"] == "interpolant" and path["settings"] == {"coupled": True, "noise": 0.5}
    shown = said("distill", recipe, "--teacher", teacher, "--noise", "False", "--generator-times", "grid")
    assert "noise: false" in shown and "generator_times: grid" in shown
