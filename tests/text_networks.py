"""Tiny text-conditioned networks of diffusers: a U-Net, SD3's and FLUX's transformers, each called by hand."""

from __future__ import annotations

import torch
from diffusers import FluxTransformer2DModel, SD3Transformer2DModel, UNet2DConditionModel
from torch import Tensor, nn

from realuid.models.networks.base import Network
from realuid.models.networks.condition import Condition
from realuid.models.networks.specs import ConditionSpec


class _Text(Network):
    """Conditioned on a text of any length and, where `pooled`, on one vector."""

    shape = (4, 8, 8)
    width, pooled = 12, 0

    def __init__(self) -> None:
        super().__init__({})

    @property
    def conditions(self) -> tuple[ConditionSpec, ...]:
        vector = [ConditionSpec("pooled", "vector", (self.pooled,), null=0.0)] if self.pooled else []
        return (ConditionSpec("text", "text", (None, self.width), null=0.0), *vector)

    def units(self) -> list[nn.Module]:
        lists = [child for child in next(self.children()).children() if isinstance(child, nn.ModuleList)]
        return [block for blocks in lists for block in blocks]


class TextUNet(_Text):
    """The U-Net of Stable Diffusion."""

    def __init__(self) -> None:
        super().__init__()
        self.unet = UNet2DConditionModel(
            sample_size=8,
            block_out_channels=(8, 16),
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            layers_per_block=1,
            cross_attention_dim=12,
            attention_head_dim=4,
            norm_num_groups=4,
        )

    @property
    def first(self) -> nn.Module:
        """A layer of its first block."""
        return self.unet.down_blocks[0].resnets[0]

    def forward(self, x: Tensor, time: Tensor, condition: Condition) -> Tensor:
        return self.unet(x, time, self.read(condition, "text").to(x), return_dict=False)[0]


class SD3(_Text):
    """The transformer of Stable Diffusion 3."""

    pooled = 10

    def __init__(self) -> None:
        super().__init__()
        self.transformer = SD3Transformer2DModel(
            sample_size=8,
            patch_size=2,
            in_channels=4,
            num_layers=2,
            attention_head_dim=4,
            num_attention_heads=2,
            joint_attention_dim=12,
            caption_projection_dim=8,
            pooled_projection_dim=10,
            out_channels=4,
            pos_embed_max_size=8,
        )

    @property
    def first(self) -> nn.Module:
        """A layer of its first block."""
        return self.transformer.transformer_blocks[0].norm1

    def forward(self, x: Tensor, time: Tensor, condition: Condition) -> Tensor:
        text, pooled = (self.read(condition, name).to(x) for name in ("text", "pooled"))
        return self.transformer(x, text, pooled, time, return_dict=False)[0]


class Flux(_Text):
    """The transformer of FLUX.1, with guidance as an input."""

    pooled = 10

    def __init__(self) -> None:
        super().__init__()
        self.transformer = FluxTransformer2DModel(
            patch_size=1,
            in_channels=16,
            num_layers=1,
            num_single_layers=2,
            attention_head_dim=8,
            num_attention_heads=2,
            joint_attention_dim=12,
            pooled_projection_dim=10,
            guidance_embeds=True,
            axes_dims_rope=(2, 2, 4),
        )

    @property
    def first(self) -> nn.Module:
        """A layer of its first block."""
        return self.transformer.transformer_blocks[0].norm1

    def forward(self, x: Tensor, time: Tensor, condition: Condition) -> Tensor:
        text, pooled = (self.read(condition, name).to(x) for name in ("text", "pooled"))
        b, c, h, w = x.shape
        packed = x.view(b, c, h // 2, 2, w // 2, 2).permute(0, 2, 4, 1, 3, 5).reshape(b, h * w // 4, 4 * c)
        rows, columns = torch.meshgrid(torch.arange(h // 2), torch.arange(w // 2), indexing="ij")
        places = torch.stack([torch.zeros_like(rows), rows, columns], dim=-1).reshape(-1, 3).to(x)
        out = self.transformer(
            packed,
            timestep=time / 1000,
            guidance=torch.full_like(time, 3.5),
            encoder_hidden_states=text,
            pooled_projections=pooled,
            txt_ids=torch.zeros(text.shape[1], 3).to(x),
            img_ids=places,
            return_dict=False,
        )[0]
        return out.view(b, h // 2, w // 2, c, 2, 2).permute(0, 3, 1, 4, 2, 5).reshape(b, c, h, w)


TEXT_NETWORKS = [TextUNet, SD3, Flux]
