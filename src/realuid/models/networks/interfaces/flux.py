"""FLUX.1: dev, with an embedded guidance scale, and schnell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from realuid.models.networks.condition import Condition
from realuid.models.networks.interfaces.base import (
    JOINT_ATTENTION,
    Config,
    Interface,
    packed,
    pooled_spec,
    text_spec,
    unpacked,
)
from realuid.models.networks.specs import ConditionSpec
from realuid.models.prompts import POOLED, TEXT

#: Guidance scale that FLUX.1-dev is called with by default.
GUIDANCE = 3.5


class Flux(Interface):
    """Patches of 2 x 2 as tokens with positions; embeddings of the prompt and a pooled one; told sigma."""

    pipelines: ClassVar[tuple[str, ...]] = ("FluxPipeline",)
    denoiser: ClassVar[str] = "FluxTransformer2DModel"
    lora_targets: ClassVar[tuple[str, ...]] = (
        *JOINT_ATTENTION,
        *("ff.net.0.proj", "ff.net.2", "ff_context.net.0.proj", "ff_context.net.2", "proj_mlp"),
    )

    def conditions(self, config: Config, numbers: Mapping[str, Any]) -> tuple[ConditionSpec, ...]:
        return (text_spec(config["joint_attention_dim"]), pooled_spec(config["pooled_projection_dim"]))

    def shape(self, config: Config) -> tuple[int, ...]:
        return (config["in_channels"] // 4, 128, 128)

    def numbers(self, config: Config, factor: int) -> dict[str, Any]:
        return {"embedded_guidance": GUIDANCE} if config["guidance_embeds"] else {}

    def call(
        self, denoiser: nn.Module, x: Tensor, time: Tensor, condition: Condition, numbers: Mapping[str, Any]
    ) -> Tensor:
        text, (height, width) = condition[TEXT], x.shape[2:]
        scale = numbers.get("embedded_guidance")
        tokens = denoiser(
            packed(x),
            timestep=time / 1000,
            guidance=None if scale is None else torch.full((x.shape[0],), float(scale), device=x.device),
            encoder_hidden_states=text,
            pooled_projections=condition[POOLED],
            txt_ids=torch.zeros(text.shape[1], 3, device=x.device, dtype=x.dtype),
            img_ids=positions(height // 2, width // 2, x),
            return_dict=False,
        )[0]
        return unpacked(tokens, x.shape[1:])

    def named(self, answer: tuple[Any, ...]) -> Condition:
        return Condition({TEXT: answer[0], POOLED: answer[1]})


def positions(height: int, width: int, like: Tensor) -> Tensor:
    """(0, row, column) of every token, shape (height width, 3)."""
    row, column = (torch.arange(n, device=like.device, dtype=like.dtype) for n in (height, width))
    grid = torch.stack(torch.meshgrid(row, column, indexing="ij"), dim=-1).flatten(0, 1)
    return torch.cat([torch.zeros_like(grid[:, :1]), grid], dim=1)
