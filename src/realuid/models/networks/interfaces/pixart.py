"""PixArt-alpha and -Sigma, and SANA: cross-attention to embeddings of the prompt with a mask."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from realuid.models.networks.condition import Condition
from realuid.models.networks.interfaces.base import (
    ATTENTION,
    FEED_FORWARD,
    Config,
    Interface,
    for_each,
    own_defaults,
    text_spec,
    whole,
)
from realuid.models.networks.specs import ConditionSpec
from realuid.models.prompts import TEXT, TEXT_MASK


class PixArt(Interface):
    """PixArt-alpha and -Sigma: a learned variance is dropped; alpha at 1024 is also told the size of the image."""

    pipelines: ClassVar[tuple[str, ...]] = ("PixArtAlphaPipeline", "PixArtSigmaPipeline")
    denoiser: ClassVar[str] = "PixArtTransformer2DModel"
    lora_targets: ClassVar[tuple[str, ...]] = (*ATTENTION, *FEED_FORWARD)

    def conditions(self, config: Config, numbers: Mapping[str, Any]) -> tuple[ConditionSpec, ...]:
        return (text_spec(config["caption_channels"], masked=True),)

    def shape(self, config: Config) -> tuple[int, ...]:
        return (config["in_channels"], config["sample_size"], config["sample_size"])

    def numbers(self, config: Config, factor: int) -> dict[str, Any]:
        asked = config.get("use_additional_conditions")
        told = config["sample_size"] == 128 if asked is None else asked
        return {"factor": factor} if told else {}

    def call(
        self, denoiser: nn.Module, x: Tensor, time: Tensor, condition: Condition, numbers: Mapping[str, Any]
    ) -> Tensor:
        added: dict[str, Tensor | None] = {"resolution": None, "aspect_ratio": None}
        if factor := numbers.get("factor"):
            size = [side * factor for side in x.shape[2:]]
            added["resolution"] = for_each(x, size)
            added["aspect_ratio"] = for_each(x, [size[0] / size[1]])
        output = denoiser(
            x,
            timestep=whole(time),
            encoder_hidden_states=condition[TEXT],
            encoder_attention_mask=condition[TEXT_MASK],
            added_cond_kwargs=added,
            return_dict=False,
        )[0]
        return output[:, : x.shape[1]]

    def named(self, answer: tuple[Any, ...]) -> Condition:
        return Condition({TEXT: answer[0], TEXT_MASK: answer[1].bool()})

    def null(self, pipeline: Any) -> Condition:
        _, _, text, mask = pipeline.encode_prompt([""], **own_defaults(pipeline, with_null=True))
        return Condition({TEXT: text, TEXT_MASK: mask.bool()})


class Sana(PixArt):
    """SANA: a flow that is told 1000 sigma times a scale of its own."""

    pipelines: ClassVar[tuple[str, ...]] = ("SanaPipeline",)
    denoiser: ClassVar[str] = "SanaTransformer2DModel"
    lora_targets: ClassVar[tuple[str, ...]] = ATTENTION

    def numbers(self, config: Config, factor: int) -> dict[str, Any]:
        return {}

    def call(
        self, denoiser: nn.Module, x: Tensor, time: Tensor, condition: Condition, numbers: Mapping[str, Any]
    ) -> Tensor:
        config: Any = denoiser.config
        output = denoiser(
            x,
            timestep=time * config.timestep_scale,
            encoder_hidden_states=condition[TEXT],
            encoder_attention_mask=condition[TEXT_MASK],
            return_dict=False,
        )[0]
        return output[:, : x.shape[1]]
