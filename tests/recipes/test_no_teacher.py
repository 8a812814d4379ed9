"""--teacher none: the student learns from the data alone."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch

import realuid
from realuid.cli.main import main
from realuid.data import Dataset
from realuid.errors import ConfigError
from realuid.loaders import load_generator
from realuid.models import MLP, Condition, MatchingModel, silent
from realuid.objectives import UnwiseSettingWarning
from realuid.paths import make_path
from realuid.recipes import parse_recipe
from realuid.recipes.run import new_teacher, recipe_data
from realuid.recipes.spec import named_teacher, student_spec
from realuid.training import DistillConfig
from realuid.training.distill import distillation_task

RECIPE = """
name: points
data: {source: "toy:moons", conditional: true}
network: {architecture: mlp, channels: [8], blocks: 1}
distill: {updates: 2, batch: 8, fake_updates: 1, device: cpu}
evaluate: {samples: 60, seeds: 1, steps: 2}
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    file = tmp_path / "points.yaml"
    file.write_text(RECIPE)
    return file


def test_it_says_0_in_the_form_of_the_model_it_stands_for() -> None:
    parsed = parse_recipe(RECIPE, "points")
    model = new_teacher(parsed, recipe_data(parsed))
    twin = silent(model)
    assert (twin.shape, twin.conditions, twin.path, twin.prediction) == (
        model.shape,
        model.conditions,
        model.path,
        model.prediction,
    )
    labels = Condition(labels=torch.tensor([0, 1, 0]))
    assert torch.equal(twin(torch.ones(3, 2), torch.full((3,), 0.5), labels), torch.zeros(3, 2))
    assert list(twin.parameters()) == []


@pytest.mark.filterwarnings("ignore::realuid.objectives.UnwiseSettingWarning")
def test_a_student_of_no_teacher_is_trained_and_its_run_goes_on(recipe: Path, tmp_path: Path, capsys) -> None:
    words = ["distill", str(recipe), "--teacher", "none", "--objective", "mixture", "--out", str(tmp_path / "run")]
    assert main([*words, "--dry-run"]) == 0
    assert "parameters: " in capsys.readouterr().out and not (tmp_path / "run").exists()
    assert main(words) == 0
    student = load_generator(tmp_path / "run")
    assert (student.shape, student.num_classes, student.about["teacher"]) == ((2,), 2, "none")
    assert main(["distill", "--resume", "--updates", "3", "--out", str(tmp_path / "run")]) == 0
    config = json.loads((tmp_path / "run" / "model" / "config.json").read_text())
    assert config["distillation"]["updates"] == 3


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], r"only the mixture objective at data_weight = 1"),
        (["--objective", "mixture", "--data-weight", "0.5"], r"only the mixture objective at data_weight = 1"),
        (["--objective", "mixture", "--data-weight-warmup", "0.5"], r"only the mixture objective at data_weight = 1"),
        (["--objective", "mixture", "--fake-start", "teacher"], r"fake_start = teacher with teacher = none"),
        (["--objective", "mixture", "--key", "raw"], r"key = raw with teacher = none"),
    ],
)
def test_settings_that_need_a_teacher_are_refused(
    options: list[str], said: str, recipe: Path, tmp_path, capsys
) -> None:
    words = ["distill", str(recipe), "--teacher", "none", "--out", str(tmp_path / "run"), *options]
    assert main(words) == 2
    error = capsys.readouterr().err
    assert said.split("(")[0] in error and len(error.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_it_is_told_to_be_experimental(tmp_path: Path) -> None:
    parsed = parse_recipe(RECIPE.replace("fake_updates", "objective: mixture, fake_updates"), "points")
    with pytest.warns(UnwiseSettingWarning, match="teacher = none is experimental"):
        student_spec(parsed, named_teacher("none", parsed), tmp_path)
    guided = dataclasses.replace(parsed, distill=dataclasses.replace(parsed.distill, guidance=2.0))
    with pytest.raises(ConfigError, match=r"guidance = 2.0 with teacher = none"):
        student_spec(guided, named_teacher("none", guided), tmp_path)


@pytest.mark.filterwarnings("ignore::realuid.objectives.UnwiseSettingWarning")
def test_data_in_memory_need_no_teacher(tmp_path: Path) -> None:
    recipe = tmp_path / "points.yaml"
    recipe.write_text(RECIPE.replace(", conditional: true", ""))
    data = Dataset(torch.randn(64, 2), name="mine")
    config = DistillConfig(updates=1, batch=8, fake_updates=1, objective="mixture", device="cpu")
    student = realuid.distill("none", data, recipe=str(recipe), config=config, out=tmp_path / "run")
    assert student(torch.randn(3, 2)).shape == (3, 2)


def test_one_step_students_of_no_teacher_learn_the_data() -> None:
    """In one dimension, N(1.5, 0.4^2) from N(0, 1): the mean and the spread of the data, to a tenth."""
    torch.manual_seed(0)
    model = MatchingModel(MLP(1, width=32, depth=1, num_classes=0), make_path("linear"))
    data = Dataset(1.5 + 0.4 * torch.randn(4096, 1, generator=torch.Generator().manual_seed(1)), name="normal")
    config = DistillConfig(
        updates=200,
        batch=128,
        fake_updates=2,
        objective="mixture",
        generator_lr=2e-3,
        fake_lr=4e-3,
        lr_decay="cosine",
        ema=(0.98,),
        device="cpu",
    )
    task, _ = distillation_task(silent(model), data, config, start=model, fake=model)
    for update in range(config.updates):
        task.update(update)
        task.ema.update()
    student = task.ema.averaged(0.98)
    with torch.no_grad():
        x = student(torch.randn(8192, 1, generator=torch.Generator().manual_seed(2)))
    assert x.mean() == pytest.approx(1.5, abs=0.1)
    assert x.std() == pytest.approx(0.4, abs=0.1)


@pytest.mark.filterwarnings("ignore::realuid.objectives.UnwiseSettingWarning")
def test_a_distilled_student_goes_on_without_a_teacher(recipe: Path, tmp_path: Path) -> None:
    words = ["distill", str(recipe), "--teacher", "none", "--objective", "mixture", "--out"]
    assert main([*words, str(tmp_path / "first")]) == 0
    assert main([*words, str(tmp_path / "second"), "--start", str(tmp_path / "first")]) == 0
    assert load_generator(tmp_path / "second").about["distillation"]["fake_start"] == "random"
