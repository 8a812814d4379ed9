"""Small one-step generators with random weights, of every kind that an export meets."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import diffusers_folders
import torch
from diffusers import DDIMScheduler, DDPMScheduler, EDMEulerScheduler, FlowMatchEulerDiscreteScheduler
from torch import Tensor

from realuid.data import Dataset
from realuid.loaders import load_teacher
from realuid.models import (
    EDM,
    MLP,
    VE,
    ADMUNet,
    Condition,
    Generator,
    MatchingModel,
    NetworkConfig,
    SongUNet,
    build_network,
)
from realuid.paths import heads, make_path
from realuid.training import DistillConfig, distill_teacher

_EDM_SIZE = {"img_resolution": 8, "in_channels": 3, "out_channels": 3, "model_channels": 32, "channel_mult": [1, 2]}
_EDM_SIZE |= {"num_blocks": 1, "attn_resolutions": [4]}


def randomise(generator: Generator) -> Generator:
    """Layers that start at zero or one would hide mistakes."""
    for parameter in generator.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return generator.eval()


def unet(
    path: str = "linear",
    prediction: str | None = None,
    classes: int = 0,
    shape: tuple[int, ...] = (3, 8, 8),
    t_init: float | None = None,
    channels: tuple[int, ...] = (8, 16),
    sees_source: bool = False,
) -> Generator:
    """A diffusers U-Net on any path; attention at half the side."""
    torch.manual_seed(0)
    config = NetworkConfig(channels=channels, blocks=1, attention_at=(shape[1] // 2,), head_channels=8)
    where = make_path(path)
    network = build_network(config, shape, classes, sees_source, heads(prediction or where.default_prediction))
    return randomise(Generator(MatchingModel(network, where, prediction), t_init))


def edm(classes: int = 0) -> Generator:
    """DDPM++ under EDM's preconditioning, with an augmentation embedding."""
    torch.manual_seed(0)
    network = SongUNet(**_EDM_SIZE, label_dim=classes, augment_dim=9)
    return randomise(Generator(MatchingModel(network, make_path("ve"), "data_prediction", EDM())))


def ncsnpp() -> Generator:
    """NCSN++ under the preconditioning of VE."""
    torch.manual_seed(0)
    kind = {"embedding_type": "fourier", "encoder_type": "residual", "resample_filter": [1, 3, 3, 1]}
    network = SongUNet(**_EDM_SIZE, **kind, channel_mult_noise=2)
    return randomise(Generator(MatchingModel(network, make_path("ve"), "data_prediction", VE())))


def adm(classes: int = 10) -> Generator:
    """ADM under EDM's preconditioning."""
    torch.manual_seed(0)
    size = {**_EDM_SIZE, "model_channels": 64}
    return randomise(Generator(MatchingModel(ADMUNet(**size, label_dim=classes), make_path("ve"), None, EDM())))


def points() -> Generator:
    """A perceptron for points in the plane."""
    torch.manual_seed(0)
    return randomise(Generator(MatchingModel(MLP(2, width=16, depth=1, num_classes=3), make_path("linear"))))


def bridge() -> Generator:
    """A bridge whose network sees the source image."""
    return unet("brownian_bridge", sees_source=True)


def interpolant() -> Generator:
    """A network that predicts velocity and noise at once."""
    return unet("interpolant", "velocity_and_noise")


@functools.cache
def distilled(kind: str) -> Generator:
    """Two updates from a teacher in a folder of diffusers: 'ddpm', 'edm', 'flow', or 'dit' on latents."""
    schedulers = {
        "ddpm": DDPMScheduler,
        "edm": EDMEulerScheduler,
        "flow": FlowMatchEulerDiscreteScheduler,
        "dit": DDIMScheduler,
    }
    scheduler, latent = schedulers[kind](), kind == "dit"
    side, labels = (16, torch.arange(8) % 5) if latent else (8, None)
    images = torch.randint(256, (8, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    data = Dataset(images, labels, "noise", tuple("abcde") if latent else ())
    config = DistillConfig(updates=2, batch=4, fake_updates=1, device="cpu")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if latent:
            diffusers_folders.save_dit(folder / "teacher", diffusers_folders.dit(), scheduler)
        else:
            diffusers_folders.save_ddpm(folder / "teacher", diffusers_folders.unet(), scheduler)
        return distill_teacher(load_teacher(folder / "teacher"), data, config, folder / "run")


def condition(generator: Generator, batch: int) -> Condition:
    """Labels and source images, where the generator takes them."""
    labels = torch.arange(batch) % generator.num_classes if generator.num_classes else None
    path = generator.model.path
    return Condition(label=labels, source=torch.randn(batch, *generator.shape).clamp(-1, 1) if path.coupled else None)


@torch.no_grad()
def images(generator: Generator, z: Tensor, given: Condition) -> Tensor:
    """What the generator itself makes, decoded where it makes latents."""
    made = generator(z, given)
    return generator.codec.decode(made) if generator.codec else made
