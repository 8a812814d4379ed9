"""Folders of diffusers: our data prediction against that of the scheduler's own step."""

from __future__ import annotations

import dataclasses
import json

import diffusers_folders as folders
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    EDMDPMSolverMultistepScheduler,
    EDMEulerScheduler,
    FlowMatchEulerDiscreteScheduler,
    PNDMScheduler,
    UNet2DModel,
)
from diffusers_folders import relative_error

from realuid.data import Dataset, to_float
from realuid.errors import CheckpointError, ConfigError
from realuid.loaders import load_diffusers, load_teacher
from realuid.models import EDM, Condition, Generator, from_pretrained, save_pretrained
from realuid.on_data import encode_dataset
from realuid.sampling import generate
from realuid.training import DistillConfig, distill_teacher

TOLERANCE = 1e-5


@pytest.fixture
def x() -> torch.Tensor:
    return torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("schedule", ["linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid"])
@torch.no_grad()
def test_ddpm(schedule, prediction, x, tmp_path):
    network = folders.unet()
    scheduler = DDPMScheduler(beta_schedule=schedule, prediction_type=prediction, clip_sample=False, beta_end=0.01)
    model = load_diffusers(folders.save_ddpm(tmp_path / "ddpm", network, scheduler))
    assert model.shape == (3, 8, 8) and not model.training
    for i in (0, 1, 250, 998, 999):
        expected = scheduler.step(network(x, i).sample, i, x).pred_original_sample
        found = model(x, torch.full((2,), (i + 1) / 1000), space="data_prediction")
        assert relative_error(found, expected) < TOLERANCE


@pytest.mark.parametrize("kind", [DDIMScheduler, PNDMScheduler])
@torch.no_grad()
def test_the_other_schedulers_of_a_ddpm_grid(kind, x, tmp_path):
    """And a grid of another length, betas of a checkpoint's own, and a terminal signal of zero."""
    network = folders.unet()
    scheduler = kind(num_train_timesteps=50, trained_betas=torch.linspace(1e-3, 0.2, 50).tolist())
    model = load_diffusers(folders.save_ddpm(tmp_path / "ddpm", network, scheduler))
    a2 = scheduler.alphas_cumprod[30]
    expected = (x - (1 - a2) ** 0.5 * network(x, 30).sample) / a2**0.5
    found = model(x, torch.full((2,), 31 / 50), space="data_prediction")
    assert relative_error(found, expected) < TOLERANCE


@torch.no_grad()
def test_zero_terminal_snr(x, tmp_path):
    network = folders.unet()
    scheduler = DDIMScheduler(rescale_betas_zero_snr=True, prediction_type="v_prediction", clip_sample=False)
    scheduler.set_timesteps(1000)
    model = load_diffusers(folders.save_ddpm(tmp_path / "ddpm", network, scheduler))
    for i in (0, 600, 998):
        expected = scheduler.step(network(x, i).sample, i, x).pred_original_sample
        found = model(x, torch.full((2,), (i + 1) / 1000), space="data_prediction")
        assert relative_error(found, expected) < TOLERANCE
    # at the last step the signal is 3e-5 here instead of 0
    expected = scheduler.step(network(x, 999).sample, 999, x).pred_original_sample
    assert relative_error(model(x, torch.ones(2), space="data_prediction"), expected) < 1e-3


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("kind", [EDMEulerScheduler, EDMDPMSolverMultistepScheduler])
@torch.no_grad()
def test_edm(kind, prediction, x, tmp_path):
    network = folders.unet()
    scheduler = kind(sigma_data=0.7, sigma_min=0.01, sigma_max=50, prediction_type=prediction)
    model = load_diffusers(folders.save_ddpm(tmp_path / "edm", network, scheduler))
    assert (model.path.sigma_min, model.path.sigma_max) == (0.01, 50) and isinstance(model.preconditioning, EDM)
    scheduler.set_timesteps(12)
    for t, sigma in zip(scheduler.timesteps[::3], scheduler.sigmas[:-1][::3], strict=True):
        scheduler._step_index = None
        noisy = x * sigma
        output = network(scheduler.scale_model_input(noisy, t), t).sample
        expected = scheduler.precondition_outputs(noisy, output, sigma)
        found = model(noisy, sigma.expand(2), space="data_prediction")
        assert relative_error(found, expected) < TOLERANCE


@torch.no_grad()
def test_flow_matching(x, tmp_path):
    network = folders.unet()
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    model = load_diffusers(folders.save_ddpm(tmp_path / "flow", network, scheduler))
    scheduler.set_timesteps(10)
    for t, sigma, after in zip(scheduler.timesteps, scheduler.sigmas, scheduler.sigmas[1:], strict=False):
        output = network(x, t).sample
        scheduler._step_index = None
        stepped = scheduler.step(output, t, x).prev_sample
        slope = (stepped - x) / (after - sigma)
        expected = x - sigma * slope  # Euler's step all the way to sigma = 0
        found = model(x, sigma.expand(2), space="data_prediction")
        assert relative_error(found, expected) < TOLERANCE


@torch.no_grad()
def test_classes_and_a_learned_variance(x, tmp_path):
    network, scheduler = folders.unet(num_class_embeds=4, out_channels=6), DDPMScheduler(clip_sample=False)
    model = load_diffusers(folders.save_model(tmp_path / "model", network, scheduler))
    labels = torch.tensor([3, 1])
    expected = network(x, 500, class_labels=labels).sample[:, :3]
    found = model(x, torch.full((2,), 0.501), Condition(label=labels))
    assert model.num_classes == 4 and model.prediction == "noise_prediction"
    assert relative_error(found, expected) < TOLERANCE


@torch.no_grad()
def test_dit_on_latents(tmp_path):
    network, scheduler = folders.dit(), DDIMScheduler(clip_sample=False)
    folder = folders.save_dit(tmp_path / "dit", network, scheduler)
    model = load_teacher(folder)
    assert model.shape == (4, 8, 8) and model.image_shape == (3, 16, 16) and model.num_classes == 5
    x, labels = torch.randn(2, 4, 8, 8), torch.tensor([0, 4])
    scheduler.set_timesteps(1000)
    output = network(x, torch.tensor([400, 400]), class_labels=labels).sample[:, :4]
    expected = scheduler.step(output, 400, x).pred_original_sample
    found = model(x, torch.full((2,), 0.401), Condition(label=labels), space="data_prediction")
    assert relative_error(found, expected) < TOLERANCE

    again = from_pretrained(save_pretrained(Generator(model), tmp_path / "ours"))
    images = torch.cat(list(generate(again, 2, labels=labels)))
    z = torch.stack([torch.randn(4, 8, 8, generator=g) for g in [torch.Generator().manual_seed(0)] for _ in range(2)])
    vae = folders.autoencoder()
    assert images.shape == (2, 3, 16, 16)
    assert relative_error(images, vae.decode(Generator(model)(z, Condition(label=labels)) / 0.5).sample) < TOLERANCE


@torch.no_grad()
def test_latents_of_a_quantised_autoencoder(tmp_path):
    model = load_teacher(folders.save_ldm(tmp_path / "ldm", folders.unet(), DDIMScheduler()))
    images = torch.rand(3, 3, 16, 16) * 2 - 1
    vae = folders.autoencoder("VQModel", 3)
    latents = model.codec.encode(images)
    assert relative_error(latents, 0.5 * vae.encode(images).latents) < TOLERANCE
    assert relative_error(model.codec.decode(latents), vae.decode(latents / 0.5).sample) < TOLERANCE


@torch.no_grad()
def test_older_pipelines_keep_all_parts_in_one_folder(x, tmp_path):
    folder = folders.save_ddpm(tmp_path / "ddpm", folders.unet(), DDPMScheduler())
    expected = load_teacher(folder)(x, torch.full((2,), 0.5))
    for part in ("unet", "scheduler"):
        for file in (folder / part).iterdir():
            file.rename(folder / file.name)
        (folder / part).rmdir()
    assert torch.equal(load_teacher(folder)(x, torch.full((2,), 0.5)), expected)


def test_training_folders_hold_two_networks(tmp_path):
    for name in ("unet", "unet_ema"):
        folders.unet().save_pretrained(tmp_path / name)
    with pytest.raises(CheckpointError, match="several networks: pass key, one of unet, unet_ema"):
        load_teacher(tmp_path)
    with pytest.raises(CheckpointError, match="has no scheduler settings"):
        load_teacher(tmp_path, key="unet_ema")
    DDPMScheduler().save_pretrained(tmp_path / "scheduler")
    assert load_teacher(tmp_path, key="unet_ema").path.name == "ddpm"
    with pytest.raises(CheckpointError, match="key = ema is not in"):
        load_teacher(tmp_path, key="ema")


def change(path, **values) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.mark.parametrize(
    ("file", "values", "says"),
    [
        ("scheduler/scheduler_config.json", {"_class_name": "DDPMSheduler"}, "Did you mean 'DDPMScheduler'"),
        ("scheduler/scheduler_config.json", {"prediction_type": "flow"}, "unknown prediction_type 'flow'"),
        ("scheduler/scheduler_config.json", {"beta_schedule": "cosine"}, "cannot be used"),
        ("unet/config.json", {"_class_name": "UNet3DConditionModel"}, "is a UNet3DConditionModel. Supported are"),
        ("unet/config.json", {"block_out_channels": [16, 32]}, "98 of another shape: down_blocks"),
        ("unet/config.json", {"num_class_embeds": 3}, "1 missing: class_embedding.weight"),
        ("unet/config.json", {"sample_size": None}, "sample_size"),
        ("unet/config.json", {"downsample_padding": 3}, "settings contradict each other: on samples of"),
        ("unet/config.json", {"sample_size": 9}, "settings contradict each other: on samples of"),
        ("model_index.json", {"text_encoder": ["transformers", "CLIPTextModel"]}, "also has text_encoder"),
    ],
)
def test_what_is_not_supported_is_named(file, values, says, tmp_path):
    folder = folders.save_ddpm(tmp_path / "ddpm", folders.unet(), DDPMScheduler())
    change(folder / file, **values)
    with pytest.raises(CheckpointError, match=says):
        load_teacher(folder)


def test_damaged_weights_are_refused(tmp_path):
    folder = folders.save_ddpm(tmp_path / "ddpm", folders.unet(), DDPMScheduler())
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=r"diffusion_pytorch_model\.safetensors. cannot be read"):
        load_teacher(folder)
    weights.unlink()
    with pytest.raises(CheckpointError, match="no weights in"):
        load_teacher(folder)


def test_what_only_sampling_reads_does_not_matter(tmp_path):
    assert isinstance(folders.unet(), UNet2DModel)
    plain = folders.save_ddpm(tmp_path / "a", folders.unet(), DDPMScheduler())
    other = folders.save_ddpm(
        tmp_path / "b", folders.unet(), DDIMScheduler(clip_sample=False, timestep_spacing="trailing", steps_offset=1)
    )
    a, b = load_teacher(plain), load_teacher(other)
    assert (a.path, a.prediction, a.preconditioning) == (b.path, b.prediction, b.preconditioning)


def test_distillation_on_latents(tmp_path):
    """Data is encoded once; the student, its grids and its measurements are of images."""
    teacher = load_teacher(folders.save_dit(tmp_path / "dit", folders.dit(), DDIMScheduler()))
    images = torch.randint(0, 256, (12, 3, 16, 16), dtype=torch.uint8)
    data = Dataset(images, torch.arange(12) % 5, "noise", tuple("abcde"))
    encoded = encode_dataset(data, teacher.codec)
    assert encoded.shape == (4, 8, 8) and torch.equal(encoded.values, encode_dataset(data, teacher.codec).values)
    mean = teacher.codec.encode(to_float(images))
    posterior = folders.autoencoder().encode(to_float(images)).latent_dist
    assert relative_error(mean, 0.5 * posterior.mean) < TOLERANCE
    spread = (encoded.values - mean).std() / (0.5 * posterior.std).square().mean().sqrt()
    assert 0.9 < spread < 1.1

    config = DistillConfig(updates=2, batch=4, fake_updates=1, alpha=0.9, beta=0.95, sample_every=2, device="cpu")
    student = distill_teacher(teacher, data, config, tmp_path / "run")
    assert (tmp_path / "run" / "samples" / "0000002.png").is_file()
    before, after = teacher.codec.autoencoder.state_dict(), student.model.codec.autoencoder.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    assert torch.cat(list(generate(student, 3, labels=torch.tensor([0, 1, 2])))).shape == (3, 3, 16, 16)
    with pytest.raises(ConfigError, match="flipped latents"):
        distill_teacher(teacher, data, dataclasses.replace(config, flip=True), tmp_path / "other")


@pytest.mark.parametrize("scheduler", [DDPMScheduler(), EDMEulerScheduler(), FlowMatchEulerDiscreteScheduler()])
def test_students_of_every_scheduler(scheduler, tmp_path):
    teacher = load_teacher(folders.save_ddpm(tmp_path / "teacher", folders.unet(), scheduler))
    data = Dataset(torch.randint(0, 256, (16, 3, 8, 8), dtype=torch.uint8))
    config = DistillConfig(updates=2, batch=4, fake_updates=2, alpha=0.9, beta=0.95, generator_lr=1e-3, device="cpu")
    student = distill_teacher(teacher, data, config, tmp_path / "run")
    start = Generator(teacher)
    z = torch.randn(3, 3, 8, 8)
    with torch.no_grad():
        assert student.t_init == start.t_init and not torch.equal(student(z), start(z))
        assert torch.equal(from_pretrained(tmp_path / "run" / "model")(z), student(z))
