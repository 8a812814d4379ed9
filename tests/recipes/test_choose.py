"""The recipe of a run for which none is named: said, and the teacher's own where it has one."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path

import diffusers_folders
import pipelines
import pytest
import torch
from adapted import prompted_data
from conftest import small_teacher
from diffusers import DDPMScheduler

import realuid
from realuid.cli.main import main
from realuid.data import Dataset, to_float
from realuid.data.writers import write_samples
from realuid.errors import ConfigError
from realuid.models import Student
from realuid.models.networks.interfaces import INTERFACES
from realuid.on_data import adopt_null
from realuid.recipes import Recipe, load_recipe
from realuid.recipes.choose import for_pipeline, for_shape, for_teacher, of_teacher
from realuid.recipes.evaluate import EvaluateConfig, calls_of
from realuid.recipes.spec import NamedTeacher, student_spec
from realuid.sampling import check_use
from realuid.training import DistillConfig
from realuid.training.roles import make_roles


def realuid_command(text: str) -> int:
    return main(shlex.split(text))


FEW = {"updates": 1, "batch": 4, "save_every": 0, "device": "cpu"}


@pytest.mark.parametrize(
    ("shape", "options", "name"),
    [
        ((1, 8, 8), {}, "demo"),
        ((3, 16, 12), {"accelerated": True}, "demo"),
        ((1, 28, 28), {}, "mnist"),
        ((3, 32, 32), {}, "cifar10-cpu"),
        ((3, 32, 32), {"accelerated": True}, "cifar10"),
        ((3, 64, 48), {}, "celeba64"),
        ((1, 8, 8), {"pairs": True}, "digits-bridge"),
        ((3, 32, 32), {"pairs": True}, "cifar10-colour"),
    ],
)
def test_by_size(shape, options, name) -> None:
    assert for_shape(shape, **options).recipe.name == name


#: What `pipe(prompt)` of each class uses unless told otherwise; FLUX has no classifier-free guidance of its own.
@pytest.mark.parametrize(
    ("name", "scale"),
    [("stable_diffusion", 7.5), ("sdxl", 5.0), ("sd3", 7.0), ("flux", 1.0), ("pixart", 4.5), ("qwen_image", 4.0)],
)
def test_pipelines_are_distilled_with_the_guidance_that_they_are_used_with(name: str, scale: float) -> None:
    choice = for_pipeline(INTERFACES[name].usual_guidance({}))
    assert choice.recipe.distill == load_recipe("text-to-image").distill and choice.recipe.distill.calls == 4
    assert f"recipe text-to-image, for a text-to-image pipeline, with its usual guidance of {scale:g}" in choice.said


def test_a_pipeline_as_a_teacher_has_the_recipe_of_pipelines(tmp_path: Path) -> None:
    choice = for_teacher(realuid.load_teacher(pipelines.save("sd_epsilon", tmp_path / "sd")))
    assert choice.recipe.name == "text-to-image" and choice.recipe.distill.lora_rank == 64
    assert choice.recipe.data.source == ""


@pytest.mark.parametrize(("name", "scale", "first"), [("sd_v", 7.5, None), ("sd3", 7.0, 1.0), ("flux_dev", 1.0, 1.0)])
def test_a_named_recipe_has_the_guidance_and_start_of_the_pipeline(name: str, scale: float, first, tmp_path) -> None:
    """As without its name; samplers of flow pipelines start at t = 1, and exports have to."""
    teacher = realuid.load_teacher(pipelines.save(name, tmp_path / "teacher"))
    data = prompted_data(teacher, tmp_path / "teacher")
    adopt_null(teacher, data)
    recipe = load_recipe("text-to-image")
    config = student_spec(recipe, NamedTeacher(teacher), tmp_path / "run", data=data).recipe.distill
    assert config.guidance == scale
    own = dataclasses.replace(recipe, distill=dataclasses.replace(recipe.distill, guidance=2.0))
    assert student_spec(own, NamedTeacher(teacher), tmp_path / "run", data=data).recipe.distill.guidance == 2.0
    start = {make_roles(teacher, replaced).student.times[0] for replaced in (config, _full(config))}
    assert start == {first or teacher.path.start_time(2.5)}


def test_a_pipeline_is_sampled_with_its_usual_guidance(tmp_path: Path) -> None:
    teacher = realuid.load_teacher(pipelines.save("sd_v", tmp_path / "teacher"))
    images = {
        scale: realuid.sample(teacher, 1, seed=0, prompts=["a red cat"], steps=2, guidance=scale)
        for scale in (None, 7.5, 1.0)
    }
    assert torch.equal(images[None], images[7.5]) and not torch.equal(images[None], images[1.0])
    assert calls_of(teacher, EvaluateConfig(steps=2)) == calls_of(teacher, EvaluateConfig(steps=2, guidance=7.5)) == 4
    assert calls_of(teacher, EvaluateConfig(steps=2, guidance=1.0)) == 2
    check_use(Student(teacher), guidance=None)
    check_use(Student(teacher), guidance=1.0)
    with pytest.raises(ConfigError, match=r"guidance = 7\.5: the model is a student"):
        check_use(Student(teacher), guidance=7.5)


def _full(config: DistillConfig) -> DistillConfig:
    return dataclasses.replace(config, lora_rank=0, lora_base="teacher")


def test_points_have_no_recipe() -> None:
    choice = for_shape((2,))
    assert choice.recipe == Recipe() and "are the defaults, since samples of shape (2,)" in choice.said


@pytest.mark.slow
def test_from_a_folder_to_a_student_without_naming_a_recipe(tmp_path: Path, monkeypatch, capsys, digits) -> None:
    monkeypatch.chdir(tmp_path)
    write_samples([to_float(digits.values)[:200]], Path("images"))
    assert realuid_command("train --data.source images --updates 60 --warmup 5 --batch 64 --out runs/teacher") == 0
    said = capsys.readouterr().out
    assert "settings: recipe demo, for images of 8 x 8" in said
    assert "next: realuid sample runs/teacher" in said and "realuid distill --teacher runs/teacher" in said
    recipe = load_recipe("runs/teacher/recipe.yaml")
    assert not recipe.data.conditional and recipe.data.source == str(tmp_path / "images")
    assert realuid_command("distill --teacher runs/teacher --updates 1 --evaluate-every 0 --out runs/student") == 0
    assert "settings: recipe demo, with which 'runs/teacher' was trained" in capsys.readouterr().out
    assert of_teacher("runs/teacher/model").recipe == of_teacher("runs/teacher").recipe
    student = realuid.distill("runs/teacher", "images", out="runs/python", updates=1, evaluate_every=0, seed=3)
    assert student.about["distillation"]["fake_updates"] == recipe.distill.fake_updates
    assert student.about["distillation"]["seed"] == 3
    assert "with which 'runs/teacher' was trained" in capsys.readouterr().err


def test_a_foreign_teacher_needs_data(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    diffusers_folders.save_ddpm(tmp_path / "ddpm", diffusers_folders.unet(1), DDPMScheduler())
    assert realuid_command("distill --teacher ddpm --dry-run") == 2
    assert "pass --data.source" in capsys.readouterr().err
    assert realuid_command("distill --teacher ddpm --data.source digits --dry-run") == 0
    assert "settings: recipe demo, for images of 8 x 8" in capsys.readouterr().out


def test_python_says_what_it_chose(tmp_path: Path, capsys) -> None:
    data = Dataset(torch.randint(0, 256, (40, 1, 8, 8), dtype=torch.uint8), torch.arange(40) % 2, classes=("a", "b"))
    model = realuid.train(data, tmp_path / "t", **FEW, sample_every=0, warmup=0)
    assert model.num_classes == 2 and model.class_counts == (20, 20)
    assert "settings: recipe demo, for images of 8 x 8" in capsys.readouterr().err


def test_unknown_keywords_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'updates'"):
        realuid.distill(small_teacher(), "digits", out=tmp_path / "s", update=3)
    with pytest.raises(ConfigError, match="activation_checkpointing"):
        realuid.train("digits", tmp_path / "t", recompute=True)
    assert not (tmp_path / "s").exists()
