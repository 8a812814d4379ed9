"""Recipes of several stages: what a student inherits, in which order they are made, where fine-tuning starts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml

from realuid.cli.main import main
from realuid.errors import CheckpointError, ConfigError
from realuid.models import from_pretrained
from realuid.models.saving.folder import read_config
from realuid.recipes import Origin, Recipe, load_recipe, parse_recipe
from realuid.recipes.chains import make_student
from realuid.recipes.spec import NamedTeacher, teacher_spec
from realuid.training import DistillConfig, DistillTask, load_start
from realuid.training.accelerate import make_accelerator
from realuid.training.checkpoints import Checkpoints
from realuid.training.compatibility import check_student_run

TINY = {
    "name": "tiny",
    "network": {"channels": [8, 16], "blocks": 1, "attention_at": []},
    "teacher": {"updates": 2, "batch": 16, "device": "cpu"},
    "distill": {
        "updates": 2,
        "batch": 16,
        "fake_updates": 1,
        "generator_lr": 3e-3,
        "fake_lr": 3e-3,
        "warmup": 5,
        "ema": [0.5, 0.9],
        "t_init": 0.9,
        "device": "cpu",
    },
    "students": {
        "first": {"alpha": 0.92, "beta": 0.94},
        "second": {"start": "first", "start_ema": 0.9, "alpha": 0.92, "beta": 0.86},
        "third": {"start": "second", "generator_lr": "1e-4"},
    },
    "published": {"second": 1.98},
}


def tiny(**sections) -> Recipe:
    return parse_recipe(yaml.safe_dump({**TINY, **sections}), "tiny")


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return teacher_spec(tiny(), tmp_path_factory.mktemp("stages") / "teacher").run()


def test_a_fine_tuned_student_inherits_slower_settings() -> None:
    recipe = tiny()
    assert [recipe.origin(n) for n in recipe.students] == [None, Origin("first", 0.9), Origin("second", None)]
    assert recipe.ancestors("third") == ["first", "second"]
    first, second, third = (recipe.student(name) for name in recipe.students)
    assert (first.fake_begins, first.warmup, first.generator_lr) == ("random", 5, 3e-3)
    assert (second.fake_start, second.warmup, second.beta) == ("teacher", 0, 0.86)
    assert second.generator_lr == pytest.approx(1e-3) and third.generator_lr == 1e-4


@pytest.mark.parametrize(
    ("students", "message"),
    [
        ({"a": {"start": "b"}, "b": {}}, r"students.a: start = b is no earlier student \(none\)"),
        ({"a": {"start_ema": 0.9}}, "students.a: start_ema without start"),
        ({"a": {"strat": "b"}}, "unknown setting 'strat'. Did you mean 'start'"),
        ({"a": {"updates": "many"}}, "students.a.*updates"),
        ({"a": {"objective": "dmd", "alpha": 0.9}}, "needs alpha = beta"),
    ],
)
def test_impossible_stages_are_refused(students, message) -> None:
    with pytest.raises(ConfigError, match=message):
        tiny(students=students)


def test_a_recipe_may_be_what_differs_from_another(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(TINY))
    text = yaml.safe_dump(
        {"base": str(tmp_path / "base.yaml"), "name": "mine", "distill": {"updates": 7, "ema": [0.3]}}
    )
    (tmp_path / "mine.yaml").write_text(text)
    mine = load_recipe(str(tmp_path / "mine.yaml"))
    assert (mine.name, mine.distill.updates, mine.distill.ema, mine.distill.batch) == ("mine", 7, (0.3,), 16)
    assert mine.students == tiny().students
    (tmp_path / "loop.yaml").write_text(f"base: {tmp_path}/loop.yaml")
    with pytest.raises(ConfigError, match="base is the recipe itself"):
        load_recipe(str(tmp_path / "loop.yaml"))


@pytest.mark.slow
def test_a_chain_is_made_in_order_and_goes_on_where_it_stopped(teacher, digits, tmp_path: Path) -> None:
    recipe = tiny()
    last = make_student(recipe, "third", NamedTeacher(teacher, "t"), tmp_path, digits)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["first", "second", "third"]
    about = {n: json.loads((tmp_path / n / "model" / "config.json").read_text()) for n in recipe.students}
    assert about["second"]["start"] == {"student": str(tmp_path / "first"), "ema": 0.9}
    assert about["second"]["published_fid"] == 1.98 and "start" not in about["first"]
    written = {n: (tmp_path / n / "model" / "config.json").stat().st_mtime_ns for n in recipe.students}
    for folder in ("third/model", "second/model"):
        (tmp_path / folder).rename(tmp_path / f"{folder}.gone")
    again = make_student(recipe, "third", NamedTeacher(teacher, "t"), tmp_path, digits)
    assert (tmp_path / "first" / "model" / "config.json").stat().st_mtime_ns == written["first"]
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in last.state_dict().items())


def test_fine_tuning_starts_from_the_chosen_average_with_the_teacher_as_fake(teacher, digits, tmp_path: Path) -> None:
    make_student(tiny(), "first", NamedTeacher(teacher), tmp_path, digits)
    run = tmp_path / "first"
    _, folder = Checkpoints(run / "checkpoints").latest()
    averages = Checkpoints.read(folder)[0]["ema"]
    for decay in (0.5, 0.9):
        start = load_start(run, decay)
        assert start.t_init == 0.9
        assert all(torch.equal(p, averages[f"{decay}.{n}"]) for n, p in start.named_parameters())
    best = load_start(run).state_dict()
    assert all(torch.equal(v, best[k]) for k, v in from_pretrained(run / "model").state_dict().items())
    config = tiny().student("second")
    task = DistillTask(teacher, digits, config, make_accelerator(config), start=load_start(run, 0.9))
    assert all(torch.equal(p, averages[f"0.9.{n}"]) for n, p in task.generator.named_parameters())
    assert all(torch.equal(v, task.fake.state_dict()[k]) for k, v in teacher.state_dict().items())


def test_starting_points_that_do_not_fit_are_refused(teacher, digits, tmp_path: Path) -> None:
    make_student(tiny(), "first", NamedTeacher(teacher), tmp_path, digits)
    start = load_start(tmp_path / "first")
    with pytest.raises(CheckpointError, match=r"no average of decay 0.7. Its averages: 0.5, 0.9"):
        load_start(tmp_path / "first", 0.7)
    config = DistillConfig(t_init=0.5, batch=16, device="cpu")
    with pytest.raises(ConfigError, match=r"t_init = 0.5, but the generator to start from has 0.9"):
        check_student_run(teacher, digits, config, start)
    from conftest import small_teacher

    config = DistillConfig(batch=16, device="cpu")
    with pytest.raises(ConfigError, match="start is for samples of shape"):
        check_student_run(small_teacher(num_classes=10), digits, config, start)


@pytest.mark.slow
def test_the_command_fine_tunes_with_start_and_makes_chains(teacher, tmp_path: Path, capsys) -> None:
    from realuid.models import save_pretrained

    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    folder = save_pretrained(teacher, tmp_path / "teacher")
    base = ["distill", str(tmp_path / "tiny.yaml"), "--teacher", str(folder), "--trust-teacher"]
    assert main([*base, "--out", str(tmp_path / "a")]) == 0
    tuned = [*base, "--start", str(tmp_path / "a"), "--start-ema", "0.9", "--alpha", "0.92", "--beta", "0.86"]
    assert main([*tuned, "--out", str(tmp_path / "b")]) == 0
    saved = load_recipe(str(tmp_path / "b" / "recipe.yaml")).distill
    assert (saved.fake_start, saved.warmup, saved.t_init, saved.beta) == ("teacher", 0, 0.9, 0.86)
    assert saved.generator_lr == pytest.approx(1e-3)
    base[1] += ":second"
    assert main([*base, "--out", str(tmp_path / "c"), "--updates", "3"]) == 0
    assert sorted(p.name for p in (tmp_path / "c").iterdir()) == ["first", "second"]
    assert "published FID 1.98" in capsys.readouterr().out.replace("\n", " ")
    updates = [load_recipe(str(tmp_path / "c" / n / "recipe.yaml")).distill.updates for n in ("first", "second")]
    assert updates == [2, 3]
    assert main([*base, "--out", str(tmp_path / "c")]) == 2 and "already holds a run" in capsys.readouterr().err
    assert main([*base, "--out", str(tmp_path / "c"), "--updates", "3", "--resume"]) == 0


@pytest.mark.slow
def test_a_finished_chain_goes_on_longer_and_with_nothing_else_changed(teacher, tmp_path: Path, capsys) -> None:
    from realuid.models import fresh, save_pretrained

    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    folder, other = (save_pretrained(m, tmp_path / name) for name, m in (("t", teacher), ("o", fresh(teacher, 1))))
    out = tmp_path / "c"
    base = ["distill", f"{tmp_path / 'tiny.yaml'}:second", "--trust-teacher", "--out", str(out), "--teacher"]
    assert main([*base, str(folder)]) == 0

    def updates() -> list[int]:
        return [read_config(out / name / "model")["trained"]["update"] for name in ("first", "second")]

    for words in ([*base, str(folder), "--alpha", "0.8", "--beta", "0.8"], [*base, str(other)]):
        capsys.readouterr()
        assert main([*words, "--resume"]) == 2
        assert "was made with another" in capsys.readouterr().err
    assert updates() == [2, 2]
    assert main([*base, str(folder), "--resume", "--updates", "4"]) == 0
    assert updates() == [2, 4]
    assert main([*base, str(folder), "--resume"]) == 0  # the recipe says 2
    assert updates() == [2, 4]


def test_an_interrupted_extension_is_taken_up(teacher, digits, tmp_path: Path, monkeypatch) -> None:
    recipe = tiny()
    make_student(recipe, "first", NamedTeacher(teacher, "t"), tmp_path, digits)
    longer = tiny(students={"first": {**TINY["students"]["first"], "updates": 5}})
    update = DistillTask.update

    def stop(self, number: int):
        if number == 3:
            raise OSError
        return update(self, number)

    monkeypatch.setattr(DistillTask, "update", stop)
    with pytest.raises(OSError):
        make_student(longer, "first", NamedTeacher(teacher, "t"), tmp_path, digits)
    monkeypatch.undo()
    assert Checkpoints(tmp_path / "first" / "checkpoints").steps() == [2, 3]
    make_student(recipe, "first", NamedTeacher(teacher, "t"), tmp_path, digits)
    assert read_config(tmp_path / "first" / "model")["trained"]["update"] == 5


def test_a_finished_teacher_of_a_demo_is_compared_as_well(teacher, tmp_path: Path) -> None:
    from realuid.recipes.stages import _teacher

    run = teacher_spec(tiny(), tmp_path / "teacher")
    run.run()
    assert all(torch.equal(v, teacher.state_dict()[k]) for k, v in _teacher(run).state_dict().items())
    other = tiny(teacher={**TINY["teacher"], "lr": 0.5})
    with pytest.raises(CheckpointError, match=r"made with another lr\."):
        _teacher(teacher_spec(other, tmp_path / "teacher"))
