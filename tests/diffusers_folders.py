"""Small pipelines of diffusers with random weights, and what their own schedulers make of them."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    DDPMPipeline,
    DiTPipeline,
    DiTTransformer2DModel,
    LDMPipeline,
    UNet2DModel,
    VQModel,
)
from torch import Tensor, nn


def randomise(network: nn.Module) -> nn.Module:
    """Layers that start at zero or one would hide mistakes."""
    for parameter in network.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return network.eval()


def unet(channels: int = 3, **settings) -> UNet2DModel:
    torch.manual_seed(0)
    settings = {"in_channels": channels, "out_channels": channels, **settings}
    network = UNet2DModel(
        sample_size=8,
        block_out_channels=(16, 16),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        norm_num_groups=8,
        **settings,
    )
    return randomise(network)


def dit(learned_variance: bool = True) -> DiTTransformer2DModel:
    torch.manual_seed(0)
    network = DiTTransformer2DModel(
        num_attention_heads=2,
        attention_head_dim=8,
        in_channels=4,
        out_channels=8 if learned_variance else 4,
        num_layers=2,
        sample_size=8,
        num_embeds_ada_norm=5,
    )
    return randomise(network)


def autoencoder(kind: str = "AutoencoderKL", channels: int = 4) -> AutoencoderKL | VQModel:
    """Images of 3x16x16 to latents of channels x 8x8."""
    torch.manual_seed(1)
    settings = {
        "in_channels": 3,
        "out_channels": 3,
        "down_block_types": ("DownEncoderBlock2D",) * 2,
        "up_block_types": ("UpDecoderBlock2D",) * 2,
        "block_out_channels": (8, 8),
        "latent_channels": channels,
        "norm_num_groups": 4,
        "scaling_factor": 0.5,
    }
    return randomise({"AutoencoderKL": AutoencoderKL, "VQModel": VQModel}[kind](**settings))


def save_ddpm(folder: Path, network: UNet2DModel, scheduler) -> Path:
    DDPMPipeline(network, scheduler).save_pretrained(folder)
    return folder


def save_model(folder: Path, network, scheduler) -> Path:
    """A model with its scheduler's settings beside it, without a pipeline."""
    network.save_pretrained(folder)
    scheduler.save_pretrained(folder)
    return folder


def save_dit(folder: Path, network: DiTTransformer2DModel, scheduler) -> Path:
    DiTPipeline(network, autoencoder(), scheduler).save_pretrained(folder)
    return folder


def save_ldm(folder: Path, network: UNet2DModel, scheduler) -> Path:
    LDMPipeline(autoencoder("VQModel", 3), network, scheduler).save_pretrained(folder)
    return folder


@torch.no_grad()
def relative_error(found: Tensor, expected: Tensor) -> float:
    """Largest difference against the largest number, or against 1 where that is smaller."""
    return float((found - expected).abs().max() / expected.abs().max().clamp(min=1))
