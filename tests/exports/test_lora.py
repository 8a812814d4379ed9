"""LoRA files of students that were trained as adapters: diffusers alone makes the student's images with them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pipelines
import pytest
import torch
from adapted import PROMPT, SETTINGS, distilled
from safetensors.torch import load_file

from realuid.errors import CheckpointError, ExportError
from realuid.exports import export_student
from realuid.exports.lora import KOHYA, WEIGHTS
from realuid.exports.prompted import adapter_call
from realuid.loaders import load_model, load_prompt_encoder
from realuid.models import Student, from_pretrained
from realuid.models.saving.folder import ADAPTER

#: Pipelines that read LoRA files, and the rank and alpha of their adapters.
NAMES = [name for name in pipelines.PIPELINES if name in ("sd_epsilon", "sd_v", "sdxl", "sd3", "flux_dev")]

_CODE = """
import sys, torch, diffusers
import numpy as np
for folder, (teacher, scheduler, given) in torch.load("in.pt").items():
    pipe = diffusers.DiffusionPipeline.from_pretrained(teacher)
    pipe.load_lora_weights(folder, weight_name="pytorch_lora_weights.safetensors")
    pipe.scheduler = getattr(diffusers, scheduler).from_pretrained(folder, subfolder="scheduler")
    torch.manual_seed(7)
    images = pipe("a red cat on blue", num_inference_steps=1, output_type="pt", **given).images
    code = open(f"{folder}/README.md").read().split("```python")[1].split("```")[0]
    exec(code, as_written := {})
    torch.save((images, torch.from_numpy(np.array(as_written["image"]) / 255).permute(2, 0, 1)), f"{folder}.pt")
assert "realuid" not in sys.modules
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A student of every pipeline with its LoRA files, and images that diffusers made with them."""
    folder, asked = tmp_path_factory.mktemp("lora"), {}
    for name in NAMES:
        teacher = pipelines.save(name, folder / f"teacher-{name}")
        student = distilled(teacher, folder / f"run-{name}")
        export_student(folder / f"run-{name}", folder / name, "lora")
        height, width = student.image_shape[1:]
        size = {"height": height, "width": width}
        scheduler = "EulerDiscreteScheduler" if name.startswith(("sd_", "sdxl")) else "FlowMatchEulerDiscreteScheduler"
        asked[name] = (str(teacher), scheduler, {**size, **adapter_call(student)})
    torch.save(asked, folder / "in.pt")
    subprocess.run([sys.executable, "-c", _CODE], cwd=folder, check=True, timeout=1800)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_diffusers_alone_makes_our_images(made: Path, name: str) -> None:
    student, teacher = from_pretrained(made / f"run-{name}" / "model"), load_model(made / f"teacher-{name}")
    ours = []
    for seed, prompt in ((7, PROMPT), (0, "a prompt")):  # ours, and what the card's lines make as they are written
        z = torch.randn(1, *student.shape, generator=torch.Generator().manual_seed(seed))
        condition = load_prompt_encoder(made / f"teacher-{name}").encode([prompt])
        with torch.no_grad():
            latents, plain = student(z, condition), Student(teacher, 1.0)(z, condition)
            ours.append((student_codec(student).decode(latents) / 2 + 0.5).clamp(0, 1))
        assert (latents - plain).abs().max() > 1e-3 * plain.abs().max()  # the adapter does something
    images, of_card = torch.load(made / f"{name}.pt")
    torch.testing.assert_close(images, ours[0], rtol=0, atol=1e-5)
    torch.testing.assert_close(of_card.float(), ours[1][0], rtol=0, atol=0.51 / 255)  # levels of 0 to 255
    card = (made / name / "README.md").read_text()
    assert "pipe.load_lora_weights(" in card and ("guidance_scale" in card) == (not name.startswith("flux"))


def student_codec(student: Student):
    assert student.codec is not None
    return student.codec


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith(("sd_", "sdxl"))])
def test_kohya_s_file_holds_the_same_changes(made: Path, name: str) -> None:
    ours, kohya = load_file(made / name / WEIGHTS), load_file(made / name / KOHYA)
    layers = [n.removesuffix(".lora_A.weight") for n in ours if n.endswith(".lora_A.weight")]
    assert layers and len(kohya) == 3 * len(layers)
    for layer in layers:
        theirs = "lora_" + layer.replace(".", "_")
        up, down, alpha = (kohya[f"{theirs}.{end}"] for end in ("lora_up.weight", "lora_down.weight", "alpha"))
        change = 3 / 2 * ours[f"{layer}.lora_B.weight"].flatten(1) @ ours[f"{layer}.lora_A.weight"].flatten(1)
        torch.testing.assert_close(alpha / len(down) * up.flatten(1) @ down.flatten(1), change)


@pytest.mark.slow
def test_the_adapter_is_kept_with_a_student_and_dropped_where_it_learns_on(tmp_path: Path) -> None:
    teacher = pipelines.save("sd_v", tmp_path / "teacher")
    distilled(teacher, tmp_path / "run")
    saved = load_file(tmp_path / "run" / "model" / ADAPTER)
    student = from_pretrained(tmp_path / "run" / "model")
    base = load_model(teacher).network.state_dict()
    for name, a in saved.items():
        if name.endswith("lora_A.weight"):
            layer, b = name.removesuffix(".lora_A.weight"), saved[name.replace("lora_A", "lora_B")]
            change = torch.einsum("or,r...->o...", b.flatten(1), a) * 3 / 2
            merged = student.model.network.state_dict()[f"{layer}.weight"]
            torch.testing.assert_close(merged - base[f"{layer}.weight"], change, rtol=0, atol=1e-6)
    whole = {name: value for name, value in SETTINGS.items() if not name.startswith("lora")}
    distilled(teacher, tmp_path / "full", lora_rank=0, lora_alpha=None, **{k: whole[k] for k in ("updates",)})
    assert not (tmp_path / "full" / "model" / ADAPTER).exists()
    with pytest.raises(ExportError, match="not trained as an adapter"):
        export_student(tmp_path / "full", tmp_path / "out", "lora")
    assert not (tmp_path / "out").exists()
    (tmp_path / "run" / "model" / "checksums.json").unlink()
    (tmp_path / "run" / "model" / ADAPTER).write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match="adapter"):
        from_pretrained(tmp_path / "run" / "model")
