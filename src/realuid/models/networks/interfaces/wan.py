"""Wan 2.1, text to video."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from realuid.models.networks.condition import Condition
from realuid.models.networks.interfaces.base import (
    ATTENTION,
    Config,
    Interface,
    text_spec,
)
from realuid.models.networks.specs import ConditionSpec
from realuid.models.prompts import TEXT


class Wan(Interface):
    """Latents of videos, (c, frames, h, w); embeddings of the prompt, zero beyond it; told 1000 sigma."""

    pipelines: ClassVar[tuple[str, ...]] = ("WanPipeline",)
    denoiser: ClassVar[str] = "WanTransformer3DModel"
    lora_targets: ClassVar[tuple[str, ...]] = (*ATTENTION, "ffn.net.0.proj", "ffn.net.2")

    def conditions(self, config: Config, numbers: Mapping[str, Any]) -> tuple[ConditionSpec, ...]:
        return (text_spec(config["text_dim"]),)

    def shape(self, config: Config) -> tuple[int, ...]:
        return (config["in_channels"], 21, 60, 104)

    def call(
        self, denoiser: nn.Module, x: Tensor, time: Tensor, condition: Condition, numbers: Mapping[str, Any]
    ) -> Tensor:
        return denoiser(x, timestep=time, encoder_hidden_states=condition[TEXT], return_dict=False)[0]

    def named(self, answer: tuple[Any, ...]) -> Condition:
        return Condition({TEXT: answer[0]})
