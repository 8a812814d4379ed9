"""Autoencoders by themselves, from a folder of diffusers, a pipeline, or a model of realuid on latents."""

from __future__ import annotations

from pathlib import Path

from realuid.errors import CheckpointError
from realuid.loaders.formats import local_path
from realuid.models import Codec
from realuid.models.codec import AUTOENCODERS, load_codec
from realuid.models.saving.diffusers_weights import read_diffusers_config

#: Where the autoencoder of a pipeline, or of a model of realuid or its run, is.
_INSIDE = ("", "vae", "vqvae", "autoencoder", "best/autoencoder", "model/autoencoder")


def load_autoencoder(source: str | Path) -> Codec:
    """The frozen autoencoder of a folder or Hub id.

    Raises:
        CheckpointError: where none is found, or it is damaged.
    """
    folder = local_path(source)
    for inside in _INSIDE:
        place = folder / inside
        if (place / "config.json").is_file():
            kind = str(read_diffusers_config(place / "config.json", finite=False).get("_class_name", ""))
            if kind in AUTOENCODERS:
                return load_codec(place, kind)
    raise CheckpointError(
        f"'{source}' holds no autoencoder: needed is a folder of diffusers with one of {', '.join(AUTOENCODERS)}, or a "
        "pipeline with a vae."
    )
