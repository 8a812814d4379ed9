"""Denoisers of text-to-image pipelines of diffusers: which interface calls one, and its network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers

from realuid.errors import CheckpointError
from realuid.loaders.pipeline_parts import assembled, is_pipeline
from realuid.loaders.recording import record
from realuid.models import Codec
from realuid.models.networks.base import check_runs
from realuid.models.networks.interfaces import INTERFACES
from realuid.models.networks.prompted import PromptNetwork, complete, is_model
from realuid.models.saving.diffusers_weights import load_diffusers_model
from realuid.models.saving.weights import on_paper
from realuid.models.sizes import blamed_on_size, shape_at

#: Classes of denoisers that read prompts.
DENOISERS = tuple(dict.fromkeys(interface.denoiser for interface in INTERFACES.values() if interface.denoiser))


def interface_of(pipeline: str, config: dict[str, Any]) -> str:
    """The name of the interface of a pipeline's class or, where there is no index, of a denoiser's settings.

    Of a pipeline of diffusers that is not known here it is `recorded`: the pipeline is called once to find out.

    Args:
        pipeline: class of the pipeline; '' if unknown.
        config: of the denoiser.

    Raises:
        CheckpointError: for a pipeline that calls its denoiser in a way that is not known here.
    """
    kind = config.get("_class_name")
    for name, interface in INTERFACES.items():
        if pipeline in interface.pipelines and kind == interface.denoiser:
            return name
    if pipeline and is_pipeline(pipeline) and kind not in DENOISERS:
        return "recorded"
    if pipeline:
        known = ", ".join(p for interface in INTERFACES.values() for p in interface.pipelines)
        raise CheckpointError(
            f"a {pipeline[:100]} with a {str(kind)[:100]} is not supported. Supported text-to-image pipelines: {known}."
        )
    if kind == "UNet2DConditionModel":
        return "sdxl" if config.get("addition_embed_type") == "text_time" else "stable_diffusion"
    return next(name for name, interface in INTERFACES.items() if kind == interface.denoiser)


def load_denoiser(
    folder: Path, pipeline: str, config: dict[str, Any], codec: Codec | None, size: tuple[int, ...] | None = None
) -> PromptNetwork:
    """The network of a denoiser's folder, in the precision of its weights.

    Args:
        folder: with config.json and the weights.
        pipeline: class of the pipeline; '' if unknown.
        config: of the denoiser.
        codec: of its latents.
        size: of its images, (height, width), of videos (frames, height, width); None: what the pipeline makes.

    Raises:
        CheckpointError: where something is missing, damaged or not supported.
        ConfigError: for a size that autoencoder or denoiser cannot make.
    """
    name = interface_of(pipeline, config)
    interface = INTERFACES[name]
    kind = interface.denoiser or str(config["_class_name"])
    if not is_model(kind):
        raise CheckpointError(f"'{folder}' is a {kind[:100]}, which is no network of diffusers.")
    denoiser = load_diffusers_model(getattr(diffusers, kind), folder, keep_precision=True)
    settings = {"_class_name": kind, **complete(denoiser)}
    if name == "recorded":
        numbers = record(
            assembled(folder.parent, {folder.name: denoiser, "vae": codec and codec.autoencoder}), folder.name, size
        )
        shape = tuple(numbers["size"])
    else:
        shape = interface.shape(settings)
        shape = shape if size is None else shape_at(shape, size, codec)
        numbers = interface.numbers(settings, codec.factor if codec else 8)
    with blamed_on_size(size, codec), on_paper(parameters=len(denoiser.state_dict())):
        network = PromptNetwork(name, settings, shape, **numbers)
        check_runs(network)
    network.denoiser = denoiser
    return network
