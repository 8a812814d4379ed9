"""Clipping of data predictions in sampling: whole trajectories against those of diffusers' schedulers."""

from __future__ import annotations

from pathlib import Path

import diffusers_folders as folders
import pytest
import torch
from conftest import small_teacher
from diffusers import DDIMScheduler, DDPMScheduler, EDMEulerScheduler

import realuid
from realuid.errors import CheckpointError, ConfigError
from realuid.loaders import load_diffusers
from realuid.models import Clipping, Student, from_pretrained, guided, save_pretrained
from realuid.models.matching import MatchingModel
from realuid.sampling import sample_teacher

STEPS = 10
DYNAMIC = {"thresholding": True, "dynamic_thresholding_ratio": 0.8, "sample_max_value": 1.7}
SETTINGS = {
    "range": {"clip_sample": True, "clip_sample_range": 0.7},
    "thresholding": {"clip_sample": True, **DYNAMIC},
    "none": {"clip_sample": False},
}


def loaded(folder: Path, kind: type, **settings) -> tuple[MatchingModel, object, torch.nn.Module]:
    network = folders.unet()
    scheduler = kind(num_train_timesteps=STEPS, beta_end=0.3, **settings)
    return load_diffusers(folders.save_ddpm(folder, network, scheduler)), scheduler, network


@torch.no_grad()
def trajectory(scheduler, network, x: torch.Tensor, **how) -> torch.Tensor:
    scheduler.set_timesteps(STEPS)
    x = (1 - scheduler.alphas_cumprod[-1]) ** 0.5 * x  # realuid starts with the noise that the last step has
    for i in scheduler.timesteps:
        x = scheduler.step(network(x, i).sample, i, x, **how).prev_sample
    return x


@pytest.mark.parametrize("name", SETTINGS)
def test_ddim_of_diffusers(name: str, tmp_path: Path) -> None:
    model, scheduler, network = loaded(tmp_path / "m", DDIMScheduler, **SETTINGS[name])
    x = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    expected = trajectory(scheduler, network, x, use_clipped_model_output=True)
    found = sample_teacher(model, x, STEPS, sampler="ddim")
    assert folders.relative_error(found, expected) < 1e-4
    if name != "none":
        assert folders.relative_error(sample_teacher(model, x, STEPS, sampler="ddim", clip=False), expected) > 0.1
        assert found.abs().max() <= (0.7 if name == "range" else 1.0) + 1e-5


def test_ancestral_steps_of_diffusers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, scheduler, network = loaded(tmp_path / "m", DDPMScheduler, **SETTINGS["range"])
    x = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    ours, theirs = (torch.Generator().manual_seed(1) for _ in range(2))

    def draw(shape, generator=None, **_):
        return torch.randn(shape, generator=theirs)

    monkeypatch.setattr("diffusers.schedulers.scheduling_ddpm.randn_tensor", draw)
    expected = trajectory(scheduler, network, x)
    found = sample_teacher(model, x, STEPS, sampler="ancestral", noise=lambda x: torch.randn(x.shape, generator=ours))
    assert folders.relative_error(found, expected) < 1e-4


@pytest.mark.parametrize("sampler", ["ddim", "ancestral", "euler", "heun", "dpm_solver"])
def test_every_sampler_clips(sampler: str, tmp_path: Path) -> None:
    model, _, _ = loaded(tmp_path / "m", DDIMScheduler, **SETTINGS["range"])
    images = realuid.sample(model, 4, steps=STEPS, sampler=sampler)
    free = realuid.sample(model, 4, steps=STEPS, sampler=sampler, clip=False)
    assert images.abs().max() < 1.0 < free.abs().max()


def test_it_stays_with_the_model(tmp_path: Path) -> None:
    model, _, _ = loaded(tmp_path / "m", DDIMScheduler, **SETTINGS["thresholding"])
    assert model.clipping == Clipping(1.7, 0.8)
    save_pretrained(model, tmp_path / "converted")
    assert from_pretrained(tmp_path / "converted").clipping == Clipping(1.7, 0.8)
    save_pretrained(model, tmp_path / "damaged", clipping={"limit": -1})
    with pytest.raises(CheckpointError):
        from_pretrained(tmp_path / "damaged")
    network = folders.unet()
    assert load_diffusers(folders.save_ddpm(tmp_path / "edm", network, EDMEulerScheduler())).clipping is None


def test_other_models_on_request() -> None:
    model = small_teacher()
    assert torch.equal(realuid.sample(model, 2, steps=3), realuid.sample(model, 2, steps=3, clip=False))
    assert not torch.equal(realuid.sample(model, 2, steps=3), realuid.sample(model, 2, steps=3, clip=True))
    with pytest.raises(ConfigError, match="clip = True"):
        realuid.sample(Student(model), 2, clip=True)


def test_a_guided_teacher_is_clipped_as_well() -> None:
    model = small_teacher(num_classes=3)
    model.clipping = Clipping(0.5)
    model.null_class = True
    assert guided(model, 2.0).clipping == Clipping(0.5)
