"""The denoiser of an exported pipeline: the student's, changed so that the pipeline needs no guidance."""

from __future__ import annotations

import copy
from typing import Any

import diffusers
import torch
from torch import Tensor

from realuid.models import Student
from realuid.models.networks.prompted import PromptNetwork
from realuid.models.saving.diffusers_weights import quiet_diffusers
from realuid.models.saving.weights import apart

#: Pipelines whose denoiser may say that it needs no null condition.
SWITCHED = ("stable_diffusion", "sdxl")
#: Of a transformer that reads a guidance scale: the bias behind the embedding of the time.
_BIAS = "time_text_embed.timestep_embedder.linear_2.bias"
#: Width of the embedding of a guidance scale, as diffusers' latent consistency models have it.
_SCALE_WIDTH = 256


def denoiser_of(network: PromptNetwork) -> Any:
    """The denoiser as the pipeline's part."""
    if network.settings["pipeline"] in SWITCHED:
        return _without_guidance(network)
    return network.denoiser if "embedded_guidance" not in network.numbers else _without_scale(network)


def _without_guidance(network: PromptNetwork) -> Any:
    """A U-Net whose pipeline never asks for a null condition: one with an embedded guidance scale, of weight zero.

    The pipelines leave classifier-free guidance out for such networks (latent consistency models). Its size is that of
    the student's samples.
    """
    config = {
        **network.settings["denoiser"],
        "time_cond_proj_dim": _SCALE_WIDTH,
        "sample_size": list(network.shape[1:]),
    }
    if network.shape[1] == network.shape[2]:
        config["sample_size"] = network.shape[1]
    with quiet_diffusers():
        unet = diffusers.UNet2DConditionModel.from_config(config).to(dtype=network.denoiser.dtype)
    embedding = unet.time_embedding.cond_proj
    torch.nn.init.zeros_(embedding.weight)
    unet.load_state_dict({**apart(network.denoiser.state_dict()), "time_embedding.cond_proj.weight": embedding.weight})
    return unet


@torch.no_grad()
def _without_scale(network: PromptNetwork) -> Any:
    """A transformer that reads no guidance scale: the embedding of the student's is added to a bias, as it is constant.

    The embeddings of time, scale and pooled text are summed, and that of the time ends with a linear layer.
    """
    config = {**network.settings["denoiser"], "guidance_embeds": False}
    with quiet_diffusers():
        kind: Any = type(network.denoiser)
        transformer = kind.from_config(config).to(dtype=network.denoiser.dtype)
    weights = {n: v for n, v in network.denoiser.state_dict().items() if ".guidance_embedder." not in n}
    bias = weights[_BIAS].float() + _embedded_scale(network)
    transformer.load_state_dict({**apart(weights), _BIAS: bias.to(weights[_BIAS].dtype)})
    return transformer


def _embedded_scale(network: PromptNetwork) -> Tensor:
    """The embedding of the student's guidance scale, float32."""
    told: Any = network.denoiser.time_text_embed
    scale = 1000 * torch.tensor([float(network.numbers["embedded_guidance"])])
    embedded: Tensor = copy.deepcopy(told.guidance_embedder).float()(told.time_proj(scale))[0]
    return embedded


@torch.no_grad()
def in_float32(student: Student) -> Student:
    """A copy that computes in float32 with the weights that its exported pipeline has."""
    network: Any = student.model.network
    precise = copy.deepcopy(student).float()
    if "embedded_guidance" in network.numbers and network.denoiser.dtype != torch.float32:
        changed: Any = precise.model.network
        bias = changed.denoiser.get_parameter(_BIAS)
        stored = (bias + _embedded_scale(network)).to(network.denoiser.dtype).float()
        bias.copy_(stored - _embedded_scale(network))
    return precise
