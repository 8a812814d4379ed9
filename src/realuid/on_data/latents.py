"""Images as the latents of an autoencoder, encoded once."""

from __future__ import annotations

import dataclasses

import torch

from realuid.data.dataset import Dataset, to_float
from realuid.models import Codec
from realuid.seeds import stream

_BATCH = 32


def encode_dataset(data: Dataset, codec: Codec, device: torch.device | str = "cpu") -> Dataset:
    """The latents of a data set of images, float32, on the CPU; a Gaussian posterior is drawn from, with a fixed seed.

    Args:
        data: uint8 images.
        codec: the autoencoder.
        device: where it works.
    """
    noise = stream(0, "latents", device=device)
    parts = [codec.encode(to_float(part.to(device)), noise).cpu() for part in data.values.split(_BATCH)]
    return dataclasses.replace(data, values=torch.cat(parts), sources=None, degradation="", degradation_seed=0)
