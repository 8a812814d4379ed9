"""The Python interface keeps the promises of the command line: whole runs, nothing overwritten, resuming."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
import yaml
from conftest import small_teacher

import realuid
from realuid.errors import ConfigError
from realuid.models.saving.folder import read_config
from realuid.recipes import EvaluateConfig, load_recipe
from realuid.training import DistillConfig, TeacherConfig

NETWORK = realuid.NetworkConfig(channels=(8, 16), blocks=1, attention_at=())
TEACHER = TeacherConfig(updates=4, batch=16, save_every=2, device="cpu")
STUDENT = {"updates": 4, "batch": 16, "fake_updates": 1, "save_every": 2, "alpha": 0.9, "beta": 0.88, "device": "cpu"}


def interrupted(run: Path) -> None:
    """As if it had been killed after the checkpoint at update 2."""
    shutil.rmtree(run / "checkpoints" / "0000004")
    shutil.rmtree(run / "model")


def same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    return all(torch.equal(v, b.state_dict()[k]) for k, v in a.state_dict().items())


def test_a_teacher_is_a_whole_run_that_is_kept_and_resumed(tmp_path: Path) -> None:
    run = tmp_path / "run"
    whole = realuid.train("digits", run, path="trigonometric", network=NETWORK, config=TEACHER, conditional=True)
    recipe = load_recipe(str(run / "recipe.yaml"))
    assert (recipe.path.name, recipe.network, recipe.teacher) == ("trigonometric", NETWORK, TEACHER)
    assert recipe.data.source == "digits" and whole.num_classes == 10
    with pytest.raises(ConfigError, match=r"already holds a run. Pass --resume \(resume = True\)"):
        realuid.train("digits", run, network=NETWORK, config=TEACHER)
    interrupted(run)
    assert same(realuid.train("digits", run, resume=True), whole)


@pytest.mark.slow
def test_a_student_takes_a_recipe_is_evaluated_kept_and_resumed(tmp_path: Path, digits) -> None:
    settings = STUDENT | {"evaluate_every": 2, "quick_samples": 20}
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump({"distill": settings}))
    run, given = tmp_path / "run", (small_teacher(), digits.subset(slice(0, 300)))
    recipe = str(tmp_path / "tiny.yaml")
    whole = realuid.distill(*given, alpha=0.92, recipe=recipe, out=run, trust_teacher=True)
    about = read_config(run / "best")
    assert (about["distillation"]["alpha"], about["distillation"]["beta"]) == (0.92, 0.88)
    assert about["trained"]["best"]["fd"] > 0
    with pytest.raises(ConfigError, match="already holds a run"):
        realuid.distill(*given, recipe=recipe, out=run, trust_teacher=True)
    interrupted(run)
    assert same(realuid.distill(*given, out=run, resume=True), whole)


def test_coefficients_of_a_config_stay_unless_others_are_passed(tmp_path: Path, digits) -> None:
    config = DistillConfig(**STUDENT)
    for beta in (None, 0.85):
        run = tmp_path / str(beta)
        realuid.distill(small_teacher(), digits, beta=beta, config=config, out=run, trust_teacher=True)
        about = read_config(run / "model")["distillation"]
        assert (about["alpha"], about["beta"]) == (0.9, beta or 0.88)


@pytest.mark.slow
def test_a_measurement_says_what_it_is_of(digits) -> None:
    data = digits.subset(slice(0, 300))
    config = EvaluateConfig(samples=20, seeds=2, steps=2)
    found = realuid.evaluate(small_teacher(), data, config)
    assert (found.calls, found.samples, len(found.fd)) == (2, 20, 2)
