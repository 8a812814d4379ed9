"""The frozen autoencoder between images (or videos) and the latents of a model."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import ModelMixin
from torch import Tensor

from realuid.errors import CheckpointError, ConfigError
from realuid.memory import InParts
from realuid.models.saving.diffusers_weights import load_diffusers_model
from realuid.reading import is_finite

#: Autoencoders of latent diffusion: a Gaussian posterior (Rombach et al. 2022), vectors that decoding quantises, small
#: ones (TAESD), deep compression (Chen et al. 2024), and those of videos.
AUTOENCODERS = (
    *("AutoencoderKL", "VQModel", "AutoencoderTiny", "AutoencoderDC"),
    *("AutoencoderKLWan", "AutoencoderKLQwenImage"),
)
#: Maximum of the numbers that scale and shift latents.
_MOST = 1e6
#: Those whose images have an axis of frames.
_OF_VIDEOS = ("AutoencoderKLWan", "AutoencoderKLQwenImage")


class Codec:
    """Encoder and decoder: latents = scale (encoder(images) - shift), as in diffusers' pipelines.

    It is not a module, so it is not trained, averaged or checkpointed; copies of a model share it.

    Args:
        autoencoder: of one of the classes `AUTOENCODERS`. Its config holds `scaling_factor` and, where they are not 0
            and 1, `shift_factor`, or `latents_mean` and `latents_std` of every channel.

    Raises:
        CheckpointError: where these are no numbers.

    Attributes:
        scale, shift: numbers, or one for every channel, shape (c,).
        factor: side of an image by that of its latents.
    """

    def __init__(self, autoencoder: ModelMixin):
        config: Any = autoencoder.config  # type: ignore[attr-defined]
        self.autoencoder: Any = autoencoder.eval().requires_grad_(False)
        self.videos = type(autoencoder).__name__ in _OF_VIDEOS
        self.scale: float | Tensor = _number(config, "scaling_factor", 1.0)
        self.shift: float | Tensor = _number(config, "shift_factor", 0.0)
        if self.scale == 0:
            raise CheckpointError("scaling_factor = 0: images cannot be made of latents that are all 0.")
        mean, std = _numbers(config, "latents_mean"), _numbers(config, "latents_std")
        if mean is not None and std is not None:
            if mean.shape != std.shape or not (std > 0).all():
                raise CheckpointError("latents_mean and latents_std: needed are as many of both, the latter positive.")
            self.scale, self.shift = self.scale / std, mean
        self.factor = _factor(autoencoder)
        self._most: int | None = None  # images that were encoded at a time when memory had run out
        self.frames = int(config.get("scale_factor_temporal") or 4) if self.videos else 1

    def __deepcopy__(self, memo: dict) -> Codec:
        return self

    def image_shape(self, latent_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of an image, (c, h, w), given that of its latents; of a video, (c, frames, h, w)."""
        *more, height, width = latent_shape[1:]
        frames = [1 + (n - 1) * self.frames for n in more]
        return (self._channels, *frames, height * self.factor, width * self.factor)

    def latent_size(self, image_size: tuple[int, ...]) -> tuple[int, ...]:
        """Height and width (before them, of videos, frames) of latents, given those of images.

        Raises:
            ConfigError: for sizes that are no multiples of the factor.
        """
        *frames, height, width = image_size
        uneven = any((n - 1) % self.frames or n < 1 for n in frames)
        if uneven or any(side < 1 or side % self.factor for side in (height, width)):
            more = f", and a number of frames that is 1 more than a multiple of {self.frames}" if frames else ""
            raise ConfigError(
                f"size = {' x '.join(map(str, image_size))}: the autoencoder takes heights and widths that are "
                f"multiples of {self.factor}{more}."
            )
        return (*((n - 1) // self.frames + 1 for n in frames), height // self.factor, width // self.factor)

    @property
    def _channels(self) -> int:
        config = self.autoencoder.config
        return int(config.get("out_channels") or config.get("in_channels") or config.get("input_channels") or 3)

    @torch.no_grad()
    def encode(self, images: Tensor, noise: torch.Generator | None = None, most: int | None = None) -> Tensor:
        """Latents of images in [-1, 1], shape (b, c, h, w), or of videos, shape (b, c, frames, h, w).

        Args:
            images: on the device of the computation.
            noise: for sampling a Gaussian posterior, the same however many images are encoded at a time; None: its
                mean.
            most: number of images that are encoded at a time; None: all. Half as many, where memory runs out.

        Raises:
            OutOfMemoryError: where not even one image fits.
        """
        one, kind = self.videos and images.dim() == 4, None
        autoencoder = self.autoencoder.to(images.device)

        def encoded(part: range) -> list[Tensor]:
            nonlocal kind
            some = images[part.start : part.stop]
            found = autoencoder.encode(some[:, :, None] if one else some)
            if (posterior := getattr(found, "latent_dist", None)) is not None:
                kind = type(posterior)
                return [posterior.parameters]
            return [found.latents if hasattr(found, "latents") else found.latent]

        parts = InParts(encoded, "latents")
        parts.size = size = min(size for size in (most, self._most, len(images)) if size)
        (latents,) = parts(range(len(images)))
        if parts.size < size:
            self._most = parts.size
        if kind is not None:
            posterior = kind(latents)
            latents = posterior.mode() if noise is None else posterior.sample(noise)
        scaled = (latents - self._of(self.shift, latents)) * self._of(self.scale, latents)
        return scaled[:, :, 0] if one else scaled

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Images of latents of shape (b, c, h, w), approximately in [-1, 1]; videos of (b, c, frames, h, w)."""
        return self.decoded(latents, self.autoencoder.to(latents.device))

    def decoded(self, latents: Tensor, autoencoder: Any, dtype: torch.dtype | None = None) -> Tensor:
        """What `decode` computes, with a copy of the autoencoder.

        Args:
            latents: as there.
            autoencoder: on the device of the latents.
            dtype: that it is called with, if not the latents'.
        """
        one = self.videos and latents.dim() == 4
        scaled = latents[:, :, None] if one else latents
        scaled = scaled / self._of(self.scale, scaled) + self._of(self.shift, scaled)
        images: Tensor = autoencoder.decode(scaled.to(dtype or latents.dtype)).sample
        return images[:, :, 0] if one else images

    @staticmethod
    def _of(value: float | Tensor, latents: Tensor) -> float | Tensor:
        """A number, or those of all channels in a shape that multiplies latents."""
        if isinstance(value, float):
            return value
        return value.to(latents).reshape(1, -1, *(1,) * (latents.dim() - 2))

    def save(self, folder: Path) -> None:
        """Write the autoencoder in diffusers' own format."""
        self.autoencoder.save_pretrained(folder)


def _factor(autoencoder: Any) -> int:
    """Side of an image by that of its latents."""
    config = autoencoder.config
    for found in (getattr(autoencoder, "spatial_compression_ratio", None), config.get("scale_factor_spatial")):
        if found:
            return int(found)
    blocks = config.get("block_out_channels") or config.get("encoder_block_out_channels")
    return int(2 ** (len(blocks) - 1))


def _number(config: Any, name: str, usual: float) -> float:
    value = config.get(name)
    if value is not None and (type(value) not in (int, float) or not is_finite(value) or abs(value) > _MOST):
        raise CheckpointError(f"{name} = {value!r:.100} of an autoencoder: needed is a number of at most {_MOST:g}.")
    return usual if value is None else float(value)


def _numbers(config: Any, name: str) -> Tensor | None:
    """Numbers of all channels, shape (c,)."""
    values = config.get(name)
    if values is None:
        return None
    if not isinstance(values, list | tuple) or not values:
        raise CheckpointError(f"{name} = {values!r:.100} of an autoencoder: needed is a number for every channel.")
    return torch.tensor([_number({name: value}, name, math.nan) for value in values])


def _check_works(sized: ModelMixin) -> None:
    """Raise an error, of any type, unless an autoencoder without memory takes and makes images of one shape."""
    codec = Codec(sized)
    images = torch.empty(codec.image_shape((1, *(1,) * codec.videos, 8, 8)), device="meta")[None]
    if (made := codec.decode(codec.encode(images)).shape) != images.shape:
        raise CheckpointError(f"images of shape {tuple(images.shape)} become {tuple(made)}")


def load_codec(folder: Path, class_name: str) -> Codec:
    """The codec of a folder in diffusers' format.

    Raises:
        CheckpointError: if the class is not one of `AUTOENCODERS`, or the folder is incomplete.
    """
    if class_name not in AUTOENCODERS:
        raise CheckpointError(
            f"the autoencoder in '{folder}' is a {class_name}. Supported are {', '.join(AUTOENCODERS)}."
        )
    return Codec(load_diffusers_model(getattr(diffusers, class_name), folder, check=_check_works))
