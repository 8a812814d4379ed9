"""Pipelines without an interface: their own call is recorded, and reproduced or refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import recorded_pipelines
import torch
from diffusers_folders import relative_error

from realuid.errors import CheckpointError, ConfigError, ExportError
from realuid.exports import export_student
from realuid.loaders import load_prompt_encoder, load_teacher
from realuid.models import Student, from_pretrained, guided, save_pretrained
from realuid.recipes.choose import for_teacher

PROMPTS = ["a red seven on blue", "a cat"]
#: Images of which latents have 8 x 8; Lumina's pipeline takes its autoencoder for one of a factor of 8.
SIZES = {"AuraFlowPipeline": (16, 16), "Lumina2Pipeline": (64, 64)}
#: The guidance scale of their calls unless told otherwise.
GUIDANCE = {"AuraFlowPipeline": 3.5, "Lumina2Pipeline": 4.0}


def saved(make: Callable[[], Any], folder: Path) -> tuple[Any, Path]:
    torch.manual_seed(0)
    pipeline = make()
    pipeline.set_progress_bar_config(disable=True)
    pipeline.save_pretrained(folder)
    return pipeline, folder


@torch.no_grad()
def heard(pipeline: Any, guidance: float) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """(sample, sigma, guided prediction) of every step of a call that users make."""
    found, step = [], pipeline.scheduler.step

    def listening(output: torch.Tensor, t: torch.Tensor, sample: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        found.append((sample.clone(), t / 1000, output.clone()))
        return step(output, t, sample, *args, **kwargs)

    pipeline.scheduler.step = listening
    more = {"cfg_normalization": False} if "Lumina" in type(pipeline).__name__ else {}
    height, width = SIZES[type(pipeline).__name__]
    how = {"num_inference_steps": 3, "guidance_scale": guidance, "generator": torch.Generator().manual_seed(5)}
    pipeline(PROMPTS, height=height, width=width, output_type="latent", **how, **more)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("make", [recorded_pipelines.aura_flow, recorded_pipelines.lumina])
@torch.no_grad()
def test_a_recorded_teacher_predicts_what_its_pipeline_does(make: Callable[[], Any], tmp_path: Path) -> None:
    """With other prompts and times than those of the recording, and with guidance."""
    pipeline, folder = saved(make, tmp_path / "pipeline")
    teacher, encoder = load_teacher(folder, size=SIZES[type(pipeline).__name__]), load_prompt_encoder(folder)
    teacher.network.null = encoder.null()
    condition = encoder.encode(PROMPTS)
    assert teacher.shape == (4, 8, 8) and teacher.prompts == str(folder)
    assert f"usual guidance of {GUIDANCE[type(pipeline).__name__]:g}" in for_teacher(teacher).reason
    for guidance in (1.0, 2.0):
        for x, sigma, expected in heard(pipeline, guidance):
            found = guided(teacher, guidance)(x, sigma.expand(2), condition)
            assert relative_error(found, expected) < (1e-6 if guidance == 1 else 1e-5)  # rounding, times guidance
    again = from_pretrained(save_pretrained(teacher, tmp_path / "ours"))
    x, t = torch.randn(2, 4, 8, 8), torch.tensor([0.3, 0.8])
    assert torch.equal(again(x, t, condition), teacher(x, t, condition))
    with pytest.raises(ExportError, match="none of those that are known here; how it calls its denoiser was recorded"):
        export_student(Student(teacher, 1.0), tmp_path / "out", "diffusers")
    with pytest.raises(ConfigError, match=r"recorded with samples of \(4, 8, 8\), not of \(4, 4, 4\). Load"):
        teacher(x[..., :4, :4], t, condition)


def test_what_a_recording_cannot_reproduce_is_refused(tmp_path: Path) -> None:
    _, folder = saved(recorded_pipelines.chroma, tmp_path / "pipeline")
    with pytest.raises(CheckpointError, match=r"the ChromaPipeline is none of those .* besides a sample of shape"):
        load_teacher(folder, size=(16, 16))
