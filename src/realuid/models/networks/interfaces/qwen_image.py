"""Qwen-Image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from realuid.models.networks.condition import Condition
from realuid.models.networks.interfaces.base import JOINT_ATTENTION, Config, Interface, packed, text_spec, unpacked
from realuid.models.networks.specs import ConditionSpec
from realuid.models.prompts import TEXT, TEXT_MASK


class QwenImage(Interface):
    """Patches of 2 x 2 as tokens; embeddings of the prompt with a mask; told sigma."""

    pipelines: ClassVar[tuple[str, ...]] = ("QwenImagePipeline",)
    denoiser: ClassVar[str] = "QwenImageTransformer2DModel"
    lora_targets: ClassVar[tuple[str, ...]] = (
        *JOINT_ATTENTION,
        *("img_mlp.net.0.proj", "img_mlp.net.2", "txt_mlp.net.0.proj", "txt_mlp.net.2"),
    )
    null_prompt: ClassVar[str] = " "

    def conditions(self, config: Config, numbers: Mapping[str, Any]) -> tuple[ConditionSpec, ...]:
        return (text_spec(config["joint_attention_dim"], masked=True),)

    def shape(self, config: Config) -> tuple[int, ...]:
        return (config["in_channels"] // 4, 128, 128)

    def call(
        self, denoiser: nn.Module, x: Tensor, time: Tensor, condition: Condition, numbers: Mapping[str, Any]
    ) -> Tensor:
        height, width = x.shape[2:]
        tokens = denoiser(
            packed(x),
            timestep=time / 1000,
            encoder_hidden_states=condition[TEXT],
            encoder_hidden_states_mask=condition[TEXT_MASK],
            img_shapes=[[(1, height // 2, width // 2)]] * x.shape[0],
            return_dict=False,
        )[0]
        return unpacked(tokens, x.shape[1:])

    def guide(self, conditional: Tensor, unconditional: Tensor, scale: float) -> Tensor:
        """Every token of the guided prediction has the norm of the conditional one's."""
        tokens, plain = packed(super().guide(conditional, unconditional, scale)), packed(conditional)
        kept = tokens * (plain.norm(dim=-1, keepdim=True) / tokens.norm(dim=-1, keepdim=True))
        return unpacked(kept, conditional.shape[1:])

    def named(self, answer: tuple[Any, ...]) -> Condition:
        text, mask = answer
        full = torch.ones(text.shape[:2], dtype=torch.bool) if mask is None else mask.bool()
        return Condition({TEXT: text, TEXT_MASK: full})
