"""Text-to-image students as pipelines of their teacher's class: diffusers alone makes our images from a prompt."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pipelines
import pytest
import torch
from diffusers_folders import relative_error

from realuid.errors import CheckpointError, ExportError
from realuid.exports import export_student, load_any
from realuid.exports.prompted import adapter_call, pipeline_defaults
from realuid.exports.times import scheduler_for
from realuid.loaders import load_model, load_prompt_encoder
from realuid.models import MLP, Condition, MatchingModel, Plain, Steps, Student
from realuid.models.networks.interfaces.base import packed, unpacked
from realuid.paths import DDPMPath, LinearPath

PROMPT = "a red cat on blue"
#: Name of a tiny pipeline, and times of the student: one call, and several.
NOISE = ("sd_", "sdxl", "pixart")
ONE = {name: 0.627 if name.startswith(NOISE) else 1.0 for name in pipelines.PIPELINES}
CONDITION = Condition(text=torch.ones(1, 3, 32), pooled=torch.ones(1, 16))
SEVERAL = dict.fromkeys(ONE, 1.0)

_CODE = """
import sys, torch
from diffusers import DiffusionPipeline
for folder, (calls, own) in torch.load("in.pt").items():
    pipe = DiffusionPipeline.from_pretrained(folder, **({"trust_remote_code": True} if own else {}))
    torch.manual_seed(7)
    made = pipe("a red cat on blue", num_inference_steps=calls, output_type="pt")[0]
    kinds = [kind.__name__ for kind in type(pipe).__mro__]
    torch.save((made, kinds, type(pipe.scheduler).__name__), f"{folder}.pt")
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
            asked[key] = (calls, result.own_code is not None)
            students[key] = (student, teacher)
    torch.save(asked, folder / "in.pt")
    subprocess.run([sys.executable, "-c", _CODE], cwd=folder, check=True, timeout=1800)
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
    made = (student.codec.decode(student(z, condition, eps)) / 2 + 0.5).clamp(0, 1)
    return made.movedim(2, 1) if made.dim() == 5 else made  # of videos frames come first


@pytest.mark.slow
@pytest.mark.parametrize("key", [f"{name}-{calls}" for calls in (1, 3) for name in ONE])
def test_diffusers_alone_makes_our_images(made, key: str) -> None:
    """With a prompt and the number of steps, and no other number."""
    student, teacher, images, kinds, scheduler, folder = made[key]
    assert images.std() > 0.01
    torch.testing.assert_close(images, ours(student, teacher), rtol=0, atol=1e-5)
    kind = type(pipelines.make(key[:-2])).__name__
    assert kinds[0] == ("StudentPipeline" if pipeline_defaults(student) else kind) and kind in kinds
    noise = "EulerDiscreteScheduler" if student.calls == 1 else "CallsScheduler"
    assert scheduler == (noise if key.startswith(NOISE) else "FlowMatchEulerDiscreteScheduler")
    card = (folder / "README.md").read_text()
    assert f'pipe("a prompt", num_inference_steps={student.calls}, generator' in card and "text-to-image" in card
    with pytest.raises(CheckpointError, match="which diffusers runs"):
        load_any(folder)


@pytest.mark.slow
def test_an_embedded_guidance_scale_is_part_of_the_weights(tmp_path: Path) -> None:
    """FLUX.1-dev of another scale than its pipeline passes by default."""
    student = student_of(pipelines.save("flux_dev", tmp_path / "teacher"), 1.0, 1, (16, 16))
    before = student(torch.ones(1, *student.shape), CONDITION)
    student.model.network.numbers["embedded_guidance"] = 1.75
    assert (student(torch.ones(1, *student.shape), CONDITION) - before).abs().max() > 1e-3
    assert adapter_call(student) == {"guidance_scale": 1.75, "height": 16, "width": 16}
    assert export_student(student, tmp_path / "out", "diffusers").difference < 1e-5
    assert '"guidance_embeds": false' in (tmp_path / "out" / "transformer" / "config.json").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sd_v", "sdxl", "sd3", "flux_dev"])
def test_programs_take_prompts_of_any_length(tmp_path: Path, name: str) -> None:
    """In torch and in ONNX Runtime; widths as of the tiny pipelines."""
    student = student_of(pipelines.save(name, tmp_path / "teacher"), 1.0, 1, (16, 16))
    widths = {spec.name: spec.shape[-1] for spec in student.conditions}
    random = torch.Generator().manual_seed(0)
    for to, ending in (("torch", ".pt2"), ("onnx", ".onnx")):
        export_student(student, tmp_path / f"student{ending}", to)
        exported = load_any(tmp_path / f"student{ending}")
        for batch, length in ((3, 2), (1, 12)):
            z = torch.randn(batch, *student.shape, generator=random)
            told = {"text": torch.randn(batch, length, widths["text"], generator=random)}
            if "pooled" in widths:
                told["pooled"] = torch.randn(batch, widths["pooled"], generator=random)
            with torch.no_grad():
                expected = student.codec.decode(student(z, Condition(told)))
            assert relative_error(exported(z, Condition(told)), expected) < 1e-5


def matching(path, prediction: str) -> MatchingModel:
    steps = Steps(1000.0) if isinstance(path, DDPMPath) else Plain(1000.0)
    return MatchingModel(MLP(2, width=4, depth=1), path, prediction, steps)


DDPM = DDPMPath(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")

#: Four even levels with a shift of 5, as published students of Wan have them.
SHIFTED = (1.0, 0.9375, 0.8333333333333334, 0.625)


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
        (LinearPath(), "velocity", {"times": 1.0, "calls": 3}, True, "FlowMatchEulerDiscreteScheduler"),  # by default
        (LinearPath(), "velocity", {"times": 1.0, "calls": 3}, False, "FlowMatchEulerDiscreteScheduler"),
        (LinearPath(), "velocity", {"times": SHIFTED}, True, "FlowMatchEulerDiscreteScheduler"),
        (LinearPath(), "velocity", {"times": SHIFTED}, False, "FlowMatchEulerDiscreteScheduler"),
        (LinearPath(), "velocity", {"times": 1.0, "calls": 4}, False, "CallsScheduler"),
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
