"""ADM (Dhariwal & Nichol 2021) as EDM trains it for ImageNet (Karras et al. 2022, Table 1 and Appendix F)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from realuid.models.networks.condition import Condition
from realuid.models.networks.edm_blocks import BlockStyle, Change, Conv, PositionalEmbedding, UNetBlock, group_norm
from realuid.models.networks.edm_unet import EDMSettings, EDMUNet

HEAD_CHANNELS = 64


@dataclass(frozen=True)
class ADMSettings(EDMSettings):
    """Settings of ADM."""

    model_channels: int = 192
    channel_mult: Sequence[int] = (1, 2, 3, 4)
    num_blocks: int = 3
    attn_resolutions: Sequence[int] = (32, 16, 8)


class ADMUNet(EDMUNet):
    """ADM: adaptive normalisation, attention at several levels with 64 channels a head.

    Args:
        img_resolution: height and width of the images.
        in_channels, out_channels: of the images.
        **settings: the others of `ADMSettings`.

    Raises:
        ConfigError: for sizes that do not fit.
    """

    def __init__(self, img_resolution: int, in_channels: int, out_channels: int, **settings: Any):
        s = ADMSettings(img_resolution, in_channels, out_channels, **settings)
        super().__init__(s)
        self.augment_dim = s.augment_dim
        model_channels, emb_channels = s.model_channels, s.model_channels * s.channel_mult_emb

        self.map_noise = PositionalEmbedding(model_channels, endpoint=False, cosine_first=True)
        self.map_augment = nn.Linear(s.augment_dim, model_channels, bias=False) if s.augment_dim else None
        self.map_layer0 = nn.Linear(model_channels, emb_channels)
        self.map_layer1 = nn.Linear(emb_channels, emb_channels)
        self.map_label = nn.Linear(s.label_dim, emb_channels, bias=False) if s.label_dim else None

        style = BlockStyle(dropout=s.dropout, project_skip=False)

        def make_block(
            in_channels: int, out_channels: int, *, attention: bool = False, change: Change | None = None
        ) -> UNetBlock:
            heads = out_channels // HEAD_CHANNELS if attention else 0
            return UNetBlock(in_channels, out_channels, emb_channels, style, heads=heads, change=change)

        self.add_levels(
            s.widths,
            model_channels,
            s.num_blocks,
            make_block,
            encoder_attends=s.attn_resolutions,
            decoder_attends=s.attn_resolutions,
        )
        self.out_norm = group_norm(s.widths[0], 1e-5)
        self.out_conv = Conv(s.widths[0], out_channels, 3)
        self._initialise()

    def _initialise(self) -> None:
        """PyTorch's defaults, but unit-normal class embeddings, and zero where a branch ends."""
        for name, module in self.named_modules():
            if name.rsplit(".", 1)[-1] in ("conv1", "proj", "out_conv"):
                nn.init.zeros_(module.weight)
                nn.init.zeros_(module.bias)
        if self.map_label is not None:
            nn.init.normal_(self.map_label.weight)

    def embed(self, time: Tensor, condition: Condition) -> Tensor:
        emb = self.map_noise(time).to(self.map_layer0.weight.dtype)
        if self.map_augment is not None:
            emb = emb + self.map_augment(emb.new_zeros(emb.shape[0], self.augment_dim))
        emb = self.map_layer1(F.silu(self.map_layer0(emb)))
        if self.map_label is not None:
            emb = emb + self.map_label(self.one_hot(condition).to(emb.dtype))
        return F.silu(emb)

    def read_image(self, name: str, x: Tensor, output: Tensor | None) -> Tensor | None:
        return self.out_conv(F.silu(self.out_norm(x))) if name == self.levels[0] else None
