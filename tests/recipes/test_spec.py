"""Runs are resolved and checked once, before anything is trained or written."""

from __future__ import annotations

from pathlib import Path

import pytest

from realuid.cli.main import main
from realuid.errors import ConfigError
from realuid.models import save_pretrained
from realuid.recipes import parse_recipe
from realuid.recipes.chains import make_student
from realuid.recipes.run import new_teacher, recipe_data, recipe_of_run
from realuid.recipes.spec import NamedTeacher, student_spec, teacher_spec
from realuid.training import compatibility

POINTS = """
name: points
data: {source: "toy:moons"}
network: {architecture: mlp, channels: [8], blocks: 1}
teacher: {updates: 1, batch: 8, device: cpu}
distill: {updates: 1, batch: 8, fake_updates: 1, device: cpu}
evaluate: {samples: 60, seeds: 1, steps: 2}
students: {real: {alpha: 0.96, beta: 0.98}, uid: {alpha: 1.0}}
"""


@pytest.fixture
def teacher():
    recipe = parse_recipe(POINTS, "points")
    return new_teacher(recipe, recipe_data(recipe))


def test_a_student_that_sets_alpha_alone_is_made_after_one_that_sets_both(teacher, tmp_path: Path) -> None:
    """Which a recipe allows: the settings of one student are not the base of another."""
    recipe = parse_recipe(POINTS, "points")
    data = recipe_data(recipe)
    for name in recipe.students:
        make_student(recipe, name, NamedTeacher(teacher), tmp_path, data)
        config = recipe_of_run(tmp_path / name).distill
        assert (config.alpha, config.beta) == ((0.96, 0.98) if name == "real" else (1.0, 1.0))


def test_a_spec_cannot_be_made_of_what_does_not_fit(teacher, tmp_path: Path) -> None:
    recipe = parse_recipe(POINTS.replace("batch: 8, fake", "batch: 8, t_init: 3.0, fake"), "points")
    with pytest.raises(ConfigError, match=r"t_init = 3.0 is outside"):
        student_spec(recipe, NamedTeacher(teacher), tmp_path / "run")
    recipe = parse_recipe(POINTS.replace("updates: 1, batch: 8, device", "label_dropout: 0.1, device", 1), "points")
    with pytest.raises(ConfigError, match=r"teacher.label_dropout = 0.1 needs data.conditional = True"):
        teacher_spec(recipe, tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [["distill", "--trust-teacher"], ["sweep", "--dry-run"], ["distill", "--dry-run"]])
def test_a_command_reads_and_checks_what_it_runs_once(words, teacher, tmp_path: Path, monkeypatch, capsys) -> None:
    (tmp_path / "points.yaml").write_text(POINTS)
    save_pretrained(teacher, tmp_path / "teacher")
    checks, fits = [], compatibility.check_fits
    monkeypatch.setattr(compatibility, "check_fits", lambda *pair: checks.append(pair) or fits(*pair))
    command, *options = words
    given = (str(tmp_path / "points.yaml"), "--teacher", str(tmp_path / "teacher"), "--out", str(tmp_path / "run"))
    assert main([command, *given, *options]) == 0, capsys.readouterr().err
    assert len(checks) == (0 if command == "sweep" else 1)
    assert (tmp_path / "run").exists() == ("--dry-run" not in options)
