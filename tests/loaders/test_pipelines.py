"""Text-to-image pipelines of diffusers: the teacher against the pipeline's own recorded calls."""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path
from typing import Any

import pipelines
import pytest
import torch
from diffusers_folders import relative_error
from pipeline_runs import in_float64, run

from realuid.loaders import load_prompt_encoder, load_teacher
from realuid.models import Condition, MatchingModel, from_pretrained, guided, save_pretrained

TOLERANCE = 1e-6
PROMPTS = [pipelines.PROMPT, "a cat on the photo of a dog"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Folders of pipelines by name, each written once."""

    @cache
    def folder(name: str) -> Path:
        return pipelines.save(name, tmp_path_factory.mktemp(name) / "pipeline")

    return folder


@cache
def teacher_of(folder: Path, name: str) -> tuple[MatchingModel, Condition]:
    """The teacher, which knows the empty prompt, and the condition of the prompts."""
    teacher = load_teacher(folder, size=pipelines.size_of(name))
    encoder = load_prompt_encoder(teacher.prompts)
    teacher.network.null = encoder.null()
    return teacher, encoder.encode(PROMPTS)


def times(teacher: MatchingModel, told: torch.Tensor) -> torch.Tensor:
    """Our time of a scheduler's: step i lies at (i + 1) / n, and noise level sigma at sigma."""
    step = told.double() + 1 if teacher.path.name == "ddpm" else told.double()
    return (step / 1000).float().expand(len(PROMPTS))


@pytest.mark.parametrize("guidance", [1.0, 1.5])
@pytest.mark.parametrize("name", pipelines.PIPELINES)
@torch.no_grad()
def test_the_teacher_predicts_what_the_pipeline_does(name: str, guidance: float, folders: Any) -> None:
    """In every step of its own sampling; FLUX.1-dev with its embedded guidance as well."""
    teacher, condition = teacher_of(folders(name), name)
    pipeline = pipelines.make(name)
    heard = run(name, pipeline, PROMPTS, guidance)
    f = guided(teacher, guidance)
    for x, told, expected in zip(heard.inputs, heard.told, heard.outputs, strict=True):
        found = f(x, times(teacher, told), condition)
        assert relative_error(found, expected) < TOLERANCE


@pytest.mark.parametrize("name", pipelines.PIPELINES)
@torch.no_grad()
def test_strong_guidance_is_the_pipeline_s_in_float64(name: str, folders: Any) -> None:
    """Guidance of 5 makes rounding errors of float32 several times larger (4e-6 of Wan's largest number)."""
    teacher, condition = teacher_of(folders(name), name)
    teacher, pipeline = copy.deepcopy(teacher), pipelines.make(name)
    teacher.network.denoiser.double()
    heard = run(name, in_float64(pipeline), PROMPTS, 5.0)
    f = guided(teacher, 5.0)
    for x, told, expected in zip(heard.inputs, heard.told, heard.outputs, strict=True):
        found = f(x.double(), times(teacher, told), condition)
        # SANA's pipeline rounds what its denoiser answers to float32, and SD3's denoiser what it is told of the time
        assert relative_error(found, expected) < (1e-6 if name in ("sana", "sd3") else 1e-7)


@pytest.mark.parametrize("name", pipelines.PIPELINES)
@torch.no_grad()
def test_latents_are_decoded_as_the_pipeline_does(name: str, folders: Any) -> None:
    teacher, _ = teacher_of(folders(name), name)
    heard = run(name, pipelines.make(name), PROMPTS)
    found = (teacher.codec.decode(heard.latents) / 2 + 0.5).clamp(0, 1)
    expected = heard.images.transpose(1, 2) if heard.images.dim() == 5 else heard.images
    assert found.shape[1:] == teacher.image_shape and relative_error(found, expected) < TOLERANCE


def encoded(name: str, vae: Any, images: torch.Tensor) -> torch.Tensor:
    """Latents as the pipelines of this family that take an image make them (`_encode_vae_image`, `prepare_latents`)."""
    if name == "sana":
        return vae.encode(images).latent * vae.config.scaling_factor
    if name in ("qwen_image", "wan"):
        z = vae.encode(images[:, :, None] if images.dim() == 4 else images).latent_dist.mode()
        mean, std = (torch.tensor(v).view(1, -1, 1, 1, 1) for v in (vae.config.latents_mean, vae.config.latents_std))
        z = (z - mean) / std
        return z if name == "wan" else z[:, :, 0]
    z = vae.encode(images).latent_dist.mode()
    if name == "sdxl":
        mean, std = (torch.tensor(v).view(1, 4, 1, 1) for v in (vae.config.latents_mean, vae.config.latents_std))
        return (z - mean) * vae.config.scaling_factor / std
    return (z - (vae.config.shift_factor or 0.0)) * vae.config.scaling_factor


@pytest.mark.parametrize("name", pipelines.PIPELINES)
@torch.no_grad()
def test_images_are_encoded_as_the_pipeline_does(name: str, folders: Any) -> None:
    teacher, _ = teacher_of(folders(name), name)
    images = torch.rand(2, *teacher.image_shape) * 2 - 1
    found = teacher.codec.encode(images)
    assert found.shape[1:] == teacher.shape
    assert relative_error(found, encoded(name, pipelines.make(name).vae, images)) < TOLERANCE


@pytest.mark.parametrize("name", pipelines.PIPELINES)
@torch.no_grad()
def test_our_own_format_holds_it(name: str, folders: Any, tmp_path: Path) -> None:
    """Bit for bit, with half precision as it is."""
    teacher, condition = teacher_of(folders(name), name)
    half = copy.deepcopy(teacher)
    for parameter in half.network.parameters():  # tables that are computed stay float32, as when it is read from a file
        parameter.data = parameter.data.to(torch.bfloat16)
    x, t = torch.randn(2, *teacher.shape), torch.tensor([0.3, 0.8])
    for model in (teacher, half):
        again = from_pretrained(save_pretrained(model, tmp_path / "ours"))
        assert torch.equal(again(x, t, condition), model(x, t, condition)) and again(x, t, condition).dtype == x.dtype
        assert again.prompts == teacher.prompts and again.network.settings == model.network.settings
        assert {p.dtype for p in again.network.parameters()} == {p.dtype for p in model.network.parameters()}
        z = torch.randn(1, *teacher.shape)
        assert torch.equal(again.codec.decode(z), teacher.codec.decode(z))
