"""diffusers' U-Net conditioned on text: a small text-to-image network that is trained here."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from realuid.models.networks.base import UNet
from realuid.models.networks.condition import SOURCE, Condition
from realuid.models.networks.specs import ConditionSpec, text_spec
from realuid.models.prompts import TEXT, TEXT_MASK


class TextUNet(UNet):
    """diffusers' `UNet2DConditionModel`: cross-attention to embeddings of the prompt, of any length, with a mask.

    Args:
        sees_source, heads: as of `UNet`.
        **unet: `UNet2DConditionModel`'s own settings; `cross_attention_dim` is the width of the embeddings.
    """

    denoiser: ClassVar[type[UNet2DConditionModel]] = UNet2DConditionModel

    def __init__(self, sees_source: bool = False, heads: int = 1, **unet: Any):
        super().__init__(sees_source, heads, **unet)
        self.settings = {"sees_source": sees_source, "heads": heads, **unet}

    @property
    def conditions(self) -> tuple[ConditionSpec, ...]:
        return (*super().conditions, text_spec((None, self.unet.config.cross_attention_dim), TEXT_MASK, self.null))

    def forward(self, x: Tensor, time: Tensor, condition: Condition) -> Tensor:
        if self.sees_source:
            x = torch.cat([x, self.read(condition, SOURCE).to(x.dtype)], dim=1)
        text = {
            "encoder_hidden_states": self.read(condition, TEXT).to(x.dtype),
            "encoder_attention_mask": condition.get(TEXT_MASK),
        }
        return self.unet(x, time, class_labels=self.labels(condition), **text, return_dict=False)[0]
