"""Autoencoders of other classes than Stable Diffusion's: against diffusers' own encode and decode."""

from __future__ import annotations

import pytest
import torch
from diffusers import AutoencoderKLWan, AutoencoderTiny
from diffusers_folders import randomise, relative_error

from realuid.errors import ConfigError
from realuid.models import Codec

FOUR = (8, 8, 8, 8)


@torch.no_grad()
def test_a_tiny_autoencoder() -> None:
    vae = randomise(
        AutoencoderTiny(
            encoder_block_out_channels=FOUR, decoder_block_out_channels=FOUR, num_encoder_blocks=(1,) * 4,
            num_decoder_blocks=(1,) * 4, scaling_factor=2.0, shift_factor=0.25,
        )
    )  # fmt: skip
    codec, images = Codec(vae), torch.rand(2, 3, 16, 24) * 2 - 1
    latents = codec.encode(images)
    assert latents.shape == (2, 4, 2, 3) and codec.image_shape((4, 2, 3)) == (3, 16, 24) and codec.factor == 8
    assert relative_error(latents, (vae.encode(images).latents - 0.25) * 2.0) < 1e-6
    assert relative_error(codec.decode(latents), vae.decode(latents / 2.0 + 0.25).sample) < 1e-6


@torch.no_grad()
def test_images_and_videos_of_one_autoencoder() -> None:
    vae = randomise(
        AutoencoderKLWan(
            base_dim=4, z_dim=4, dim_mult=[1, 1], num_res_blocks=1, temperal_downsample=[True],
            latents_mean=[0.1, -0.2, 0.3, 0.0], latents_std=[1.5, 0.5, 2.0, 1.0],
            scale_factor_temporal=2, scale_factor_spatial=2,
        )
    )  # fmt: skip
    codec, video = Codec(vae), torch.rand(1, 3, 5, 8, 8) * 2 - 1
    assert codec.encode(video).shape == (1, 4, 3, 4, 4) and codec.image_shape((4, 3, 4, 4)) == (3, 5, 8, 8)
    assert codec.latent_size((5, 8, 8)) == (3, 4, 4) and codec.latent_size((8, 8)) == (4, 4)
    image = video[:, :, 0]
    assert torch.equal(codec.encode(image), codec.encode(video[:, :, :1])[:, :, 0])
    z = torch.randn(1, 4, 4, 4)
    assert torch.equal(codec.decode(z), codec.decode(z[:, :, None])[:, :, 0])
    for wrong in ((4, 8, 8), (5, 8, 7), (0, 8)):
        with pytest.raises(ConfigError, match="the autoencoder takes heights and widths that are multiples of 2"):
            codec.latent_size(wrong)
