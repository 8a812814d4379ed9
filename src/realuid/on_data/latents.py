"""Images encoded once as latents of an autoencoder."""

from __future__ import annotations

import dataclasses

import torch

from realuid.data import Dataset, to_float
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
    batches = (data.values[start : start + _BATCH] for start in range(0, len(data), _BATCH))
    parts = [codec.encode(to_float(batch.to(device)), noise).cpu() for batch in batches]
    return dataclasses.replace(data, values=torch.cat(parts), sources=None, degradation="", degradation_seed=0)
