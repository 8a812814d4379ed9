"""LoRA files and pipelines of students in half precision, of several calls, and of teachers that have an adapter."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pipelines
import pytest
import torch
from adapted import distilled
from safetensors.torch import load_file

from realuid.errors import ExportError
from realuid.exports import export_student
from realuid.exports.lora import WEIGHTS

#: A change of every layer that is large against the rounding of bfloat16, and calls at the default times.
STRONG = {"calls": 2, "t_init": None, "lora_base": "bf16", "updates": 1, "generator_lr": 0.2}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sdxl", "sd3", "flux_dev"])
def test_students_of_rounded_weights_are_exported(tmp_path: Path, name: str) -> None:
    """As the recipe for pipelines makes them: an adapter on weights in bfloat16."""
    student = distilled(pipelines.save(name, tmp_path / "teacher"), tmp_path / "run", **STRONG)
    assert {p.dtype for p in student.model.network.parameters()} == {torch.bfloat16}
    assert student.times[0] == (1.0 if name != "sdxl" else student.times[0])
    assert export_student(student, tmp_path / "lora", "lora").difference < 1e-5
    assert export_student(student, tmp_path / "pipe", "diffusers").difference < 1e-4
    for folder in ("lora", "pipe"):
        _run_card(tmp_path / folder, "torch_dtype=torch.bfloat16")
    written = load_file(tmp_path / "lora" / WEIGHTS)
    layer = next(n for n in written if n.endswith("lora_B.weight"))
    network = student.model.network
    network.merged.weights[f"denoiser.{layer.partition('.')[2]}"] *= 1.05  # not what is merged into the weights
    assert export_student(student, tmp_path / "lora", "lora").difference < 1e-5  # near enough for rounded weights
    for value in network.parameters():
        value.data.mul_(3)  # of another base
    with pytest.raises(ExportError, match="off by"):
        export_student(student, tmp_path / "other", "lora")
    assert not (tmp_path / "other").exists()


def _run_card(folder: Path, contains: str) -> None:
    """The lines of the card run as they are written."""
    code = (folder / "README.md").read_text().split("```python")[1].split("```")[0]
    assert contains in code
    subprocess.run([sys.executable, "-c", code], cwd=folder.parent, check=True, timeout=600)


@pytest.mark.slow
def test_a_variant_is_read_and_written_under_plain_names(tmp_path: Path) -> None:
    """Teachers in float16 whose files are named so."""
    pipe = pipelines.make("sdxl").to(torch.float16)
    pipe.save_pretrained(tmp_path / "teacher", variant="fp16")
    assert (tmp_path / "teacher" / "vae" / "diffusion_pytorch_model.fp16.safetensors").is_file()
    torch.save({}, tmp_path / "teacher" / "vae" / "diffusion_pytorch_model.fp16.bin")  # as older repositories have both
    student = distilled(tmp_path / "teacher", tmp_path / "run", **{**STRONG, "lora_base": "teacher"})
    assert {p.dtype for p in student.model.network.parameters()} == {torch.float16}
    assert export_student(student, tmp_path / "lora", "lora").difference < 1e-5
    _run_card(tmp_path / "lora", 'variant="fp16", torch_dtype=torch.float16')
    assert export_student(student, tmp_path / "pipe", "diffusers").difference < 1e-4
    _run_card(tmp_path / "pipe", "torch_dtype=torch.float16")
    names = {path.name for path in (tmp_path / "pipe").rglob("*.safetensors")}
    assert names == {"diffusion_pytorch_model.safetensors", "model.safetensors"}


@pytest.mark.slow
def test_an_adapter_of_the_teacher_is_named(tmp_path: Path) -> None:
    """BASE+ADAPTER: the student's adapter is a change of both."""
    base = pipelines.save("sd_v", tmp_path / "base")
    tuned = distilled(base, tmp_path / "tuning", updates=1)
    export_student(tuned, tmp_path / "tuned", "lora")
    student = distilled(f"{base}+{tmp_path / 'tuned'}", tmp_path / "run", updates=1)
    student.about["teacher"] = f"{base}+{tmp_path / 'tuned'}"
    assert export_student(student, tmp_path / "lora", "lora").difference < 1e-5
    card = (tmp_path / "lora" / "README.md").read_text()
    assert f'pipe.load_lora_weights("{tmp_path / "tuned"}", adapter_name="teacher")' in card
    assert 'pipe.set_adapters(["teacher", "student"])' in card
    student.about["teacher"] = str(base)
    with pytest.raises(ExportError, match="off by"):
        export_student(student, tmp_path / "other", "lora")
