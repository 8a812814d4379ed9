"""Stable Diffusion 1.x and 2.x, and SDXL: `UNet2DConditionModel`."""

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
    pooled_spec,
    sides,
    text_spec,
    whole,
)
from realuid.models.networks.specs import ConditionSpec
from realuid.models.prompts import POOLED, TEXT, TEXT_MASK


class StableDiffusion(Interface):
    """Stable Diffusion 1.x and 2.x: embeddings of the prompt by cross-attention; no mask.

    With `text_mask = true` among a network's settings it reads a mask, too, which no published pipeline does.
    """

    pipelines: ClassVar[tuple[str, ...]] = ("StableDiffusionPipeline",)
    denoiser: ClassVar[str] = "UNet2DConditionModel"
    folder: ClassVar[str] = "unet"
    lora_targets: ClassVar[tuple[str, ...]] = (*ATTENTION, *FEED_FORWARD)

    def conditions(self, config: Config, numbers: Mapping[str, Any]) -> tuple[ConditionSpec, ...]:
        return (text_spec(_width(config), masked=bool(numbers.get("text_mask"))),)

    def shape(self, config: Config) -> tuple[int, ...]:
        return (config.get("out_channels", 4), *sides(config.get("sample_size") or 64))

    def call(
        self, denoiser: nn.Module, x: Tensor, time: Tensor, condition: Condition, numbers: Mapping[str, Any]
    ) -> Tensor:
        return denoiser(
            x,
            whole(time),
            encoder_hidden_states=condition[TEXT],
            encoder_attention_mask=condition.get(TEXT_MASK),
            return_dict=False,
        )[0]

    def named(self, answer: tuple[Any, ...]) -> Condition:
        return Condition({TEXT: answer[0]})


class SDXL(StableDiffusion):
    """SDXL: besides, a pooled embedding, and sizes and crop of the image (here: uncropped, of the sample's size)."""

    pipelines: ClassVar[tuple[str, ...]] = ("StableDiffusionXLPipeline",)

    def conditions(self, config: Config, numbers: Mapping[str, Any]) -> tuple[ConditionSpec, ...]:
        pooled = config["projection_class_embeddings_input_dim"] - 6 * config["addition_time_embed_dim"]
        return (text_spec(_width(config)), pooled_spec(pooled))

    def shape(self, config: Config) -> tuple[int, ...]:
        return (config.get("out_channels", 4), *sides(config.get("sample_size") or 128))

    def numbers(self, config: Config, factor: int) -> dict[str, Any]:
        return {"factor": factor}

    def call(
        self, denoiser: nn.Module, x: Tensor, time: Tensor, condition: Condition, numbers: Mapping[str, Any]
    ) -> Tensor:
        size = [side * numbers["factor"] for side in x.shape[2:]]
        added = {"text_embeds": condition[POOLED], "time_ids": for_each(x, [*size, 0, 0, *size])}
        return denoiser(
            x, whole(time), encoder_hidden_states=condition[TEXT], added_cond_kwargs=added, return_dict=False
        )[0]

    def named(self, answer: tuple[Any, ...]) -> Condition:
        return Condition({TEXT: answer[0], POOLED: answer[2]})

    def null(self, pipeline: Any) -> Condition:
        """Zeros, or the embedding of an empty prompt, as the pipeline's own settings say."""
        _, text, _, pooled = pipeline.encode_prompt([""], **own_defaults(pipeline, with_null=True))
        return Condition({TEXT: text, POOLED: pooled})


def _width(config: Config) -> int:
    width = config.get("encoder_hid_dim") or config.get("cross_attention_dim", 1280)
    return width if isinstance(width, int) else width[0]
