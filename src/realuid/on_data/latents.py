"""Images encoded once as latents of an autoencoder."""

from __future__ import annotations

import dataclasses

import torch

from realuid.data import Dataset, to_float
from realuid.data.columns import hashed
from realuid.errors import ConfigError
from realuid.models import Codec, fingerprint
from realuid.seeds import stream

_BATCH = 32
#: The column of prepared data with the latents of its images.
LATENT = "latent"


def encode_dataset(data: Dataset, codec: Codec, device: torch.device | str = "cpu") -> Dataset:
    """The latents of a data set of images, float32: those that were prepared with it, or computed now, on the CPU.

    A Gaussian posterior is drawn from, with a fixed seed.

    Args:
        data: uint8 images.
        codec: the autoencoder.
        device: where it works.

    Raises:
        ConfigError: for latents that another autoencoder has made.
    """
    others = tuple(encode_dataset(other, codec, device) for other in data.others)
    images = dataclasses.replace(data, sources=None, degradation="", degradation_seed=0, others=others)
    if data.latents_from.source:
        check_latents(codec, data)
        columns = {name: column for name, column in data.columns.items() if name != LATENT}
        return dataclasses.replace(images, values=data.columns[LATENT], columns=columns)
    noise = stream(0, "latents", device=device)
    batches = (data.values[start : start + _BATCH] for start in range(0, len(data), _BATCH))
    parts = [codec.encode(to_float(batch.to(device)), noise).cpu() for batch in batches]
    return dataclasses.replace(images, values=torch.cat(parts))


def check_latents(codec: Codec | None, data: Dataset) -> None:
    """Raise ConfigError if the data holds latents of another autoencoder than a model's."""
    if codec is None or not data.latents_from.source:
        return
    if codec_fingerprint(codec) != data.latents_from.fingerprint:
        raise ConfigError(
            f"latents of '{data.name}' are those of another autoencoder ('{data.latents_from.source}') than the "
            "model's. Prepare the data again with --teacher, or pass the images."
        )


def codec_fingerprint(codec: Codec) -> str:
    """Names the weights of an autoencoder, and the scale of its latents."""
    numbers = [torch.as_tensor(n).double().flatten().tolist() for n in (codec.scale, codec.shift)]
    return f"{fingerprint(codec.autoencoder)}-{hashed(str(numbers))[:8]}"
