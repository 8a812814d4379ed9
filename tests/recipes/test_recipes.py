"""Recipes: typed, complete, read back as they were written."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from realuid.errors import ConfigError
from realuid.models import MatchingModel
from realuid.recipes import Recipe, dump_recipe, estimate, load_recipe, parse_recipe, recipe_names
from realuid.recipes.estimate import describe_student_run, describe_teacher_run
from realuid.recipes.run import new_teacher, recipe_data
from realuid.recipes.spec import NamedTeacher, student_spec, teacher_spec

TINY = """
network: {channels: [8, 16], blocks: 1, attention_at: []}
teacher: {updates: 100, batch: 16, ema: [0.9, 0.99]}
distill: {updates: 100, batch: 16}
"""


@pytest.mark.parametrize("name", recipe_names())
def test_a_stock_recipe_is_whole(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name and recipe.description
    assert parse_recipe(dump_recipe(recipe), name) == recipe
    for student in recipe.students:
        config = recipe.student(student)
        assert config.batch == recipe.students[student].get("batch", recipe.distill.batch)


def test_a_recipe_that_changes_nothing_is_the_default() -> None:
    assert parse_recipe("{}", "here") == Recipe()


def test_values_reach_their_places_with_their_types() -> None:
    recipe = parse_recipe(
        "teacher: {lr: 1e-3, ema: [0.9, 1], clip: 2}\nnetwork: {channels: [8, 8]}\n"
        "path: {name: brownian_bridge, settings: {noise: 2}}".replace("0.9, 1", "0.9, 0.5"),
        "here",
    )
    assert (recipe.teacher.lr, recipe.teacher.ema, recipe.teacher.clip) == (0.001, (0.9, 0.5), 2.0)
    assert recipe.network.channels == (8, 8) and recipe.path.build().noise == 2


def test_a_student_is_the_distillation_with_its_changes() -> None:
    recipe = parse_recipe("distill: {batch: 32, beta: 1}\nstudents: {a: {alpha: 0.9, beta: 0.8, ema: [0.5]}}", "here")
    student = recipe.student("a")
    assert (student.batch, student.alpha, student.beta, student.ema) == (32, 0.9, 0.8, (0.5,))


#: Names that would make a student overwrite the teacher, or leave its folder.
FORBIDDEN = ("teacher", "", "..", "../other", "/tmp/other", "a/b", ".hidden", "a b")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[1, 2]", "must hold sections"),
        ("techer: {}", "Did you mean 'teacher'"),
        ("distill: {lr: 1}", "distill.lr"),
        ("path: {settings: {noise: 1}}", "has no setting 'noise'"),
        ("students: {a: {alpha: 1, beta: 0.9}}", "alpha = 1 with beta"),
        ("evaluate: {seeds: 0}", "seeds = 0: must be at least 1"),
        ("evaluate: {samples: 4}", "samples = 4: must be at least 5"),
        *((f"students: {{'{name}': {{}}}}", f"'{name}' is no name for a student") for name in FORBIDDEN),
    ],
)
def test_mistakes_are_named(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(says)):
        parse_recipe(text, "here")


def estimates(monkeypatch) -> tuple[str, str, MatchingModel]:
    """Of a teacher and of its student, and the teacher; an image's activations take 1/8 GiB here."""
    monkeypatch.setattr(estimate, "_probe", lambda model, config: estimate._Probe(1.0, 2**27))
    recipe = parse_recipe(TINY, "here")
    data = recipe_data(recipe)
    model = new_teacher(recipe, data)
    teacher = describe_teacher_run(teacher_spec(recipe, Path()))
    return teacher, describe_student_run(student_spec(recipe, NamedTeacher(model), Path(), data=data)), model


def test_estimates_count_parameters(monkeypatch) -> None:
    *runs, model = estimates(monkeypatch)
    parameters = sum(tensor.numel() for tensor in model.state_dict().values())
    for said in runs:
        assert f"parameters: {parameters:,} a network" in said and "for 100 updates of 16 images" in said


def test_estimates_add_weights_and_activations(monkeypatch) -> None:
    """A network of 1 GiB."""
    monkeypatch.setattr(estimate, "count_parameters", lambda model: 2**28)
    teacher, student, _ = estimates(monkeypatch)
    # weights, gradients, two moments, two averages; the activations of 16 images
    assert f"and {6 + 16 / 8:.2f} GiB for" in teacher
    # two such networks, one average, the teacher; activations of generator, teacher and fake model
    assert f"and {4 + 4 + 1 + 1 + 3 * 16 / 8:.2f} GiB for" in student


@pytest.mark.parametrize(("roles", "copies"), [("both", 1), ("fake", 1 + 4 + 1), ("student", 1 + 4)])
def test_estimates_count_what_adapters_share_once(monkeypatch, roles: str, copies: int) -> None:
    """The base, and of a network of its own weights, gradients and two moments; the student's average."""
    monkeypatch.setattr(estimate, "_probe", lambda model, config: estimate._Probe(1.0, 2**27))
    monkeypatch.setattr(estimate, "count_parameters", lambda model: 2**28)
    recipe = parse_recipe(TINY, "here")
    adapters = dataclasses.replace(recipe.distill, lora_rank=2, lora_roles=roles, fake_start="teacher")
    recipe, data = dataclasses.replace(recipe, distill=adapters), recipe_data(recipe)
    run = student_spec(recipe, NamedTeacher(new_teacher(recipe, data)), Path(), data=data)
    assert f"and {copies + 3 * 16 / 8:.2f} GiB for" in describe_student_run(run)


def test_the_estimates_of_a_demo_add_up(monkeypatch) -> None:
    """One image's forward and backward pass takes one second here; a forward pass alone a third of it."""
    monkeypatch.setattr(estimate, "_probe", lambda model, config: estimate._Probe(1.0, 0.0))
    text = TINY + "students: {uid: {updates: 50}, more: {updates: 10, fake_updates: 1}}"
    said = estimate.describe_demo(parse_recipe(text + "\nevaluate: {samples: 30, seeds: 2, steps: 9}", "here"))
    # five fake updates of 1, their images 1/3, one generator update of 7/3: 23/3 passes for every image of a batch
    minutes = [100 * 16 / 60, 50 * 16 * 23 / 3 / 60, 10 * 16 * 11 / 3 / 60, 2 * 30 * (9 + 1 + 1) / 3 / 60]
    found = re.findall(r"(teacher|uid|more|samples for evaluation|time): about ([\d.]+) (h|min)", said)
    assert [name for name, _, _ in found] == ["teacher", "uid", "more", "samples for evaluation", "time"]
    told = [float(number) * (60 if unit == "h" else 1) for _, number, unit in found]
    assert told == pytest.approx([*minutes, sum(minutes)], abs=3)
    assert told[0] == pytest.approx(minutes[0], abs=0.05) and told[2:4] == pytest.approx(minutes[2:], abs=0.05)


def test_a_teacher_starts_from_the_recipes_seed() -> None:
    recipe, other = (parse_recipe(TINY.replace("16,", f"16, seed: {s},"), "here") for s in (0, 1))
    data = recipe_data(recipe)
    first, again, third = (new_teacher(r, data).network.unet.conv_in.weight for r in (recipe, recipe, other))
    assert first.equal(again) and not first.equal(third)
