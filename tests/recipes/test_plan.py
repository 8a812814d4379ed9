"""What cannot work is refused before anything is trained, and nothing is written."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from realuid.cli import demo
from realuid.cli.main import main
from realuid.data import Dataset, load_dataset
from realuid.errors import RealUIDError
from realuid.models import save_pretrained
from realuid.objectives import UnwiseSettingWarning
from realuid.recipes import Recipe, dump_recipe, load_recipe, parse_recipe
from realuid.recipes.checks import check_demo
from realuid.recipes.run import new_teacher
from realuid.training import TeacherConfig
from realuid.training.compatibility import check_sampling, check_teacher_run

SMALL = """
network: {channels: [8, 16], blocks: 1, attention_at: []}
teacher: {updates: 1, batch: 8, device: cpu}
distill: {updates: 1, batch: 8, fake_updates: 1, device: cpu}
students: {uid: {}}
evaluate: {samples: 5, seeds: 1, steps: 3}
"""
SHORT = TeacherConfig(batch=8, steps=5)
BRIDGE = "data: {pairs: sr-box-2}\npath: {name: brownian_bridge}" + SMALL


@pytest.fixture(scope="module")
def pairs() -> Dataset:
    return load_dataset("digits", pairs="sr-box-2")


def recipe(changes: str) -> Recipe:
    return parse_recipe(changes + SMALL, "here")


def coupled(**settings: str) -> str:
    said = "".join(f", {name}: {value}" for name, value in settings.items())
    return f"data: {{pairs: sr-box-2}}\npath: {{name: interpolant, settings: {{coupled: true{said}}}"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ("evaluate: {steps: 3, sampler: dpm_solver}", "DPM-Solver++ starts from Gaussian noise"),
        ("evaluate: {steps: 3, guidance: 2}", "guidance = 2: the model was not trained without labels"),
        ("students: {uid: {}, late: {guidance: 2}}", "students.late: guidance = 2"),
        ("students: {uid: {}, late: {space: v_prediction}}", "students.late: v_prediction"),
        ("students: {uid: {}, late: {t_init: 3}}", "students.late: t_init = 3.0 is outside"),
        ("students: {uid: {}, late: {batch: 9999, alpha: 0.9, beta: 0.92, real_share: 1}}", "students.late: a batch"),
    ],
)
def test_a_demo_is_refused_at_once(tmp_path: Path, capsys, changes: str, says: str) -> None:
    (tmp_path / "base.yaml").write_text(BRIDGE)
    (tmp_path / "mine.yaml").write_text(f"base: {tmp_path / 'base.yaml'}\n{changes}")
    for more in ([], ["--dry-run"]):
        assert main(["demo", str(tmp_path / "mine.yaml"), "--out", str(tmp_path / "out"), *more]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("realuid: error: ") and says in line
    assert not (tmp_path / "out").exists()


def test_only_coupled_students_do_without_noise(digits) -> None:
    flow = Recipe(students={"late": {"noise": False}})
    with pytest.raises(RealUIDError, match="noise = False, but only coupled paths"):
        check_demo(flow, new_teacher(flow, digits), digits)


def test_an_interpolant_that_gives_its_data_away_is_refused(pairs) -> None:
    asked = recipe(coupled(gamma="sin2") + "}")
    with pytest.raises(RealUIDError, match="noise fades faster than data"):
        check_teacher_run(new_teacher(asked, pairs), pairs, SHORT)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_teacher_run(new_teacher(recipe(coupled(gamma="sqrt") + "}"), pairs), pairs, SHORT)


def test_a_teacher_that_can_be_sampled_but_not_distilled(pairs) -> None:
    asked = recipe(coupled() + ", sees_source: false}")
    model = new_teacher(asked, pairs)
    with pytest.warns(UnwiseSettingWarning, match="can be sampled, but not distilled: cannot turn velocity into data"):
        check_teacher_run(model, pairs, SHORT)
    with pytest.raises(RealUIDError, match=r"students\.uid: cannot turn velocity into data_prediction"):
        check_demo(asked, model, pairs)
    both = recipe(coupled() + ", sees_source: false, prediction: velocity_and_noise}")
    check_demo(both, new_teacher(both, pairs), pairs)
    with pytest.raises(RealUIDError, match="cannot turn velocity into data_prediction"):
        check_sampling(model, 2, "ddim")


@pytest.mark.parametrize("name", ["demo", "digits-vp", "digits-edm", "digits-bridge", "digits-interpolant"])
def test_recipes_of_every_family_are_possible(name: str, pairs) -> None:
    stock = load_recipe(name)
    model = new_teacher(stock, pairs)
    check_demo(stock, model, pairs)
    for sampler in ("euler", "heun", "ddim", "ancestral", "sde", "sde:0.5"):
        check_sampling(model, 2, sampler)


def test_a_model_is_not_measured_in_a_way_it_cannot_be_sampled(tmp_path: Path, capsys, pairs, monkeypatch) -> None:
    model = new_teacher(parse_recipe(BRIDGE, "here"), pairs)
    folder = save_pretrained(model, tmp_path / "m", data={"source": "digits", "pairs": "sr-box-2"})
    monkeypatch.setattr(
        "realuid.recipes.evaluate.make_evaluator", lambda *_: pytest.fail("a classifier was trained first")
    )
    assert main(["evaluate", str(folder), "--sampler", "dpm_solver"]) == 2
    assert "DPM-Solver++ starts from Gaussian noise" in capsys.readouterr().err


def test_a_demo_that_goes_on_may_be_measured_otherwise(tmp_path: Path, capsys, monkeypatch) -> None:
    (tmp_path / "teacher").mkdir()
    started = parse_recipe(SMALL, "here")
    (tmp_path / "teacher" / "recipe.yaml").write_text(dump_recipe(started))
    went_on = []
    monkeypatch.setattr("realuid.recipes.demo.run_demo", lambda recipe, *_, **__: went_on.append(recipe) or {})
    monkeypatch.setattr(demo, "results_table", lambda results: "")
    words = ["demo", "--resume", "--out", str(tmp_path)]
    main([*words, "--evaluate.sampler", "ddim", "--evaluate.steps", "9"])
    (recipe,) = went_on
    assert (recipe.evaluate.sampler, recipe.evaluate.steps, recipe.evaluate.samples) == ("ddim", 9, 5)
    assert recipe.teacher == started.teacher and recipe.students == started.students
    capsys.readouterr()
    assert main([*words, "--evaluate.extractor", "inception"]) == 2
    assert "evaluate.extractor = inception with --resume" in capsys.readouterr().err
