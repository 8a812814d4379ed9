"""Text-to-image students as pipelines of their teacher's class: diffusers alone makes our images from a prompt."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pipelines
import pytest
import torch

from realuid.errors import CheckpointError, ExportError
from realuid.exports import export_student, load_any
from realuid.exports.prompted import call_settings
from realuid.exports.times import scheduler_for
from realuid.loaders import load_model, load_prompt_encoder
from realuid.models import MLP, Condition, MatchingModel, Plain, Steps, Student
from realuid.models.networks.interfaces.base import packed, unpacked
from realuid.paths import DDPMPath, LinearPath

PROMPT = "a red cat on blue"
#: Name of a tiny pipeline, and times of the student: one call, and several.
NOISE = ("sd_", "sdxl", "pixart")
ONE = {name: 0.627 if name.startswith(NOISE) else 1.0 for name in pipelines.PIPELINES if name != "wan"}
SEVERAL = dict.fromkeys(ONE, 1.0)

_CODE = """
import sys, torch
from diffusers import DiffusionPipeline
for folder, (calls, own, size, given) in torch.load("in.pt").items():
    pipe = DiffusionPipeline.from_pretrained(folder, **({"trust_remote_code": True} if own else {}))
    torch.manual_seed(7)
    images = pipe("a red cat on blue", num_inference_steps=calls, output_type="pt", **size, **given).images
    torch.save((images, type(pipe).__name__, type(pipe.scheduler).__name__), f"{folder}.pt")
assert "realuid" not in sys.modules
"""


def student_of(folder: Path, first: float, calls: int, size: tuple[int, ...] | None = None) -> Student:
    return Student(load_model(folder, size=size), first, calls=calls).eval()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple]:
    """Every tiny pipeline exported with one call and three; images of a process that knows diffusers only."""
    folder, asked, students = tmp_path_factory.mktemp("prompted"), {}, {}
    for calls, firsts in ((1, ONE), (3, SEVERAL)):
        for name, first in firsts.items():
            teacher = folder / f"teacher-{name}"
            if not teacher.exists():
                pipelines.save(name, teacher)
            student, key = student_of(teacher, first, calls, pipelines.size_of(name)), f"{name}-{calls}"
            result = export_student(student, folder / key, "diffusers")
            height, width = student.image_shape[1:]
            size = {} if name.startswith("sd") and name != "sd3" else {"height": height, "width": width}
            if name.startswith(("pixart", "sana")):  # these round to sizes of 256 pixels and more, which tiny ones lack
                size["use_resolution_binning"] = False
            asked[key] = (calls, result.own_code is not None, size, call_settings(student))
            students[key] = (student, teacher)
    torch.save(asked, folder / "in.pt")
    subprocess.run([sys.executable, "-c", _CODE], cwd=folder, check=True, timeout=600)
    return {key: (*students[key], *torch.load(folder / f"{key}.pt"), folder / key) for key in asked}


@torch.no_grad()
def ours(student: Student, teacher: Path) -> torch.Tensor:
    """The image of the prompt from the random numbers that a pipeline draws, in [0, 1]."""
    random = torch.Generator().manual_seed(7)
    z = torch.randn(1, *student.shape, generator=random)
    tokens = student.model.network.settings["pipeline"] in ("flux", "qwen_image")
    later = [torch.randn((packed(z) if tokens else z).shape, generator=random) for _ in range(student.calls - 1)]
    eps = torch.stack([unpacked(e, student.shape) if tokens else e for e in later], 1) if later else None
    condition = load_prompt_encoder(teacher).encode([PROMPT])
    return (student.codec.decode(student(z, condition, eps)) / 2 + 0.5).clamp(0, 1)


@pytest.mark.slow
@pytest.mark.parametrize("key", [f"{name}-{calls}" for calls in (1, 3) for name in ONE])
def test_diffusers_alone_makes_our_images(made, key: str) -> None:
    student, teacher, images, pipeline, scheduler, folder = made[key]
    assert images.std() > 0.01
    torch.testing.assert_close(images, ours(student, teacher), rtol=0, atol=1e-5)
    assert set(call_settings(student)) <= {"guidance_scale"}
    assert pipeline == type(pipelines.make(key[:-2])).__name__
    assert scheduler in ("EulerDiscreteScheduler", "FlowMatchEulerDiscreteScheduler", "CallsScheduler")
    card = (folder / "README.md").read_text()
    assert f'pipe("a prompt", num_inference_steps={student.calls}' in card and "text-to-image" in card
    with pytest.raises(CheckpointError, match="which diffusers runs"):
        load_any(folder)


@pytest.mark.slow
@pytest.mark.parametrize(("to", "ending"), [("torch", ".pt2"), ("onnx", ".onnx")])
def test_programs_take_prompts_of_any_length(tmp_path: Path, to: str, ending: str) -> None:
    student = student_of(pipelines.save("sd_v", tmp_path / "teacher"), 1.0, 1)
    export_student(student, tmp_path / f"student{ending}", to)
    z = torch.randn(3, *student.shape, generator=torch.Generator().manual_seed(0))
    for length in (2, 12):
        condition = Condition(text=torch.randn(3, length, 16, generator=torch.Generator().manual_seed(length)))
        with torch.no_grad():
            expected = student.codec.decode(student(z, condition))
        found = load_any(tmp_path / f"student{ending}")(z, condition)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


def matching(path, prediction: str) -> MatchingModel:
    steps = Steps(1000.0) if isinstance(path, DDPMPath) else Plain(1000.0)
    return MatchingModel(MLP(2, width=4, depth=1), path, prediction, steps)


DDPM = DDPMPath(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")


@pytest.mark.parametrize(
    ("path", "prediction", "settings", "told", "expected"),
    [
        (DDPM, "noise_prediction", {"times": 0.627}, False, "EulerDiscreteScheduler"),
        (DDPM, "v_prediction", {"times": 1.0}, False, "EulerDiscreteScheduler"),
        (DDPM, "noise_prediction", {"times": 0.6275}, False, "CallsScheduler"),  # between two steps
        (DDPM, "noise_prediction", {"times": (0.999, 0.5)}, False, "CallsScheduler"),
        (LinearPath(), "velocity", {"times": 1.0}, False, "FlowMatchEulerDiscreteScheduler"),
        (LinearPath(), "velocity", {"times": (1.0, 0.75, 0.5, 0.25)}, True, "FlowMatchEulerDiscreteScheduler"),
        (LinearPath(), "velocity", {"times": (1.0, 0.75, 0.5, 0.25)}, False, "FlowMatchEulerDiscreteScheduler"),
        (
            LinearPath(),
            "velocity",
            {"times": (1.0, 0.7, 0.4), "renoise": "deterministic"},
            True,
            "FlowMatchEulerDiscreteScheduler",
        ),
        (LinearPath(), "velocity", {"times": (1.0, 0.9, 0.3)}, True, "CallsScheduler"),
    ],
)
def test_a_scheduler_of_diffusers_is_taken_where_one_makes_the_calls(
    path, prediction, settings, told, expected
) -> None:
    scheduler = scheduler_for(Student(matching(path, prediction), **settings), told)
    assert type(scheduler).__name__ == expected


def test_a_flow_that_starts_below_one_cannot_be_a_pipeline() -> None:
    with pytest.raises(ExportError, match=r"starts at t = 0\.7"):
        scheduler_for(Student(matching(LinearPath(), "velocity"), 0.7), False)


def test_without_the_teacher_s_pipeline_there_is_none_to_export(tmp_path: Path) -> None:
    student = student_of(pipelines.save("sd_v", tmp_path / "teacher"), 1.0, 1)
    student.model.prompts = "words"
    with pytest.raises(ExportError, match="'words', from which the student's prompts are encoded, is no pipeline"):
        export_student(student, tmp_path / "out", "diffusers")
    assert not (tmp_path / "out").exists()
