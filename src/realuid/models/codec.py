"""The frozen autoencoder between images and the latents of a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import AutoencoderKL, VQModel
from torch import Tensor

from realuid.errors import CheckpointError
from realuid.models.saving.diffusers_weights import load_diffusers_model

#: Autoencoders of latent diffusion (Rombach et al. 2022): a Gaussian posterior, or vectors that decoding quantises.
AUTOENCODERS = ("AutoencoderKL", "VQModel")


class Codec:
    """Encoder and decoder: latents = scaling_factor * encoder(images), as in diffusers' pipelines.

    It is not a module, so it is not trained, averaged or checkpointed; copies of a model share it.

    Args:
        autoencoder: its config holds `scaling_factor`.

    Raises:
        CheckpointError: for latents that are shifted or normalised by channel, which no class-conditional or
            unconditional pipeline of diffusers does.
    """

    def __init__(self, autoencoder: AutoencoderKL | VQModel):
        config: Any = autoencoder.config
        for name in ("shift_factor", "latents_mean", "latents_std"):
            if config.get(name) is not None:
                raise CheckpointError(f"the autoencoder has {name} = {config[name]}, which is not supported.")
        self.autoencoder = autoencoder.eval().requires_grad_(False)
        self.scale = float(config.scaling_factor)
        self.factor = 2 ** (len(config.block_out_channels) - 1)

    def __deepcopy__(self, memo: dict) -> Codec:
        return self

    def image_shape(self, latent_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of an image, given that of its latents."""
        _, height, width = latent_shape
        return (self.autoencoder.config.out_channels, height * self.factor, width * self.factor)

    @torch.no_grad()
    def encode(self, images: Tensor, noise: torch.Generator | None = None) -> Tensor:
        """Latents of images in [-1, 1], shape (b, c, h, w).

        Args:
            images: on the device of the computation.
            noise: for sampling a Gaussian posterior; None: its mean.
        """
        encoded = self.autoencoder.to(images.device).encode(images)
        if isinstance(self.autoencoder, VQModel):
            latents = encoded.latents
        else:
            posterior = encoded.latent_dist
            latents = posterior.mean if noise is None else posterior.sample(noise)
        return self.scale * latents

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Images of latents of shape (b, c, h, w), approximately in [-1, 1]."""
        return self.autoencoder.to(latents.device).decode(latents / self.scale).sample

    def save(self, folder: Path) -> None:
        """Write the autoencoder in diffusers' own format."""
        self.autoencoder.save_pretrained(folder)


def load_codec(folder: Path, class_name: str) -> Codec:
    """The codec of a folder in diffusers' format.

    Raises:
        CheckpointError: if the class is not one of `AUTOENCODERS`, or the folder is incomplete.
    """
    if class_name not in AUTOENCODERS:
        raise CheckpointError(
            f"the autoencoder in '{folder}' is a {class_name}. Supported are {', '.join(AUTOENCODERS)}."
        )
    return Codec(load_diffusers_model(getattr(diffusers, class_name), folder))
