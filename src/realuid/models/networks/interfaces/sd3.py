"""Stable Diffusion 3 and 3.5."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from realuid.models.networks.condition import Condition
from realuid.models.networks.interfaces.base import Config, Interface, pooled_spec, text_spec
from realuid.models.networks.specs import ConditionSpec
from realuid.models.prompts import POOLED, TEXT


class StableDiffusion3(Interface):
    """Embeddings of the prompt by joint attention, and a pooled one; told 1000 sigma."""

    pipelines: ClassVar[tuple[str, ...]] = ("StableDiffusion3Pipeline",)
    denoiser: ClassVar[str] = "SD3Transformer2DModel"

    def conditions(self, config: Config, numbers: Mapping[str, Any]) -> tuple[ConditionSpec, ...]:
        return (text_spec(config["joint_attention_dim"]), pooled_spec(config["pooled_projection_dim"]))

    def shape(self, config: Config) -> tuple[int, ...]:
        return (config["in_channels"], config["sample_size"], config["sample_size"])

    def call(
        self, denoiser: nn.Module, x: Tensor, time: Tensor, condition: Condition, numbers: Mapping[str, Any]
    ) -> Tensor:
        return denoiser(
            x,
            timestep=time,
            encoder_hidden_states=condition[TEXT],
            pooled_projections=condition[POOLED],
            return_dict=False,
        )[0]

    def named(self, answer: tuple[Any, ...]) -> Condition:
        return Condition({TEXT: answer[0], POOLED: answer[2]})
