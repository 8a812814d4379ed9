"""DDPM++ and NCSN++ (Song et al. 2021) as EDM trains them (Karras et al. 2022, Table 1 and Appendix F)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn
from torch.nn import functional as F

from realuid.models.networks.condition import Condition
from realuid.models.networks.edm_blocks import (
    BlockStyle,
    BlurredStridedConv,
    Change,
    Conv,
    FourierEmbedding,
    PositionalEmbedding,
    Resample,
    UNetBlock,
    group_norm,
)
from realuid.models.networks.edm_unet import EDMSettings, EDMUNet

_EPS = 1e-6


@dataclass(frozen=True)
class SongSettings(EDMSettings):
    """Settings of DDPM++ and NCSN++.

    Attributes:
        embedding_type: of the time.
        channel_mult_noise: channels of the time's embedding, in units of model_channels.
        encoder_type: how the halved input image enters each level: not at all, added, or added and carried on.
        decoder_type: whether the output image is read at the finest level only, or as a sum over all.
        resample_filter: taps of the low-pass filter.
    """

    embedding_type: Literal["positional", "fourier"] = "positional"
    channel_mult_noise: int = 1
    encoder_type: Literal["standard", "skip", "residual"] = "standard"
    decoder_type: Literal["standard", "skip"] = "standard"
    resample_filter: Sequence[float] = (1, 1)


class SongUNet(EDMUNet):
    """DDPM++ (positional, standard, standard, taps 1 1) and NCSN++ (fourier, residual, standard, taps 1 3 3 1).

    Attention has one head.

    Args:
        img_resolution: height and width of the images.
        in_channels, out_channels: of the images.
        **settings: the others of `SongSettings`.

    Raises:
        ConfigError: for an unknown type or sizes that do not fit.
    """

    def __init__(self, img_resolution: int, in_channels: int, out_channels: int, **settings: Any):
        s = SongSettings(img_resolution, in_channels, out_channels, **settings)
        super().__init__(s)
        self.encoder_type, self.decoder_type, self.augment_dim = s.encoder_type, s.decoder_type, s.augment_dim
        noise_channels, emb_channels = s.model_channels * s.channel_mult_noise, s.model_channels * s.channel_mult_emb

        self.map_noise: nn.Module
        if s.embedding_type == "positional":
            self.map_noise = PositionalEmbedding(noise_channels, endpoint=True, cosine_first=False)
        else:
            self.map_noise = FourierEmbedding(noise_channels)
        self.map_label = nn.Linear(s.label_dim, noise_channels) if s.label_dim else None
        self.map_augment = nn.Linear(s.augment_dim, noise_channels, bias=False) if s.augment_dim else None
        self.map_layer0 = nn.Linear(noise_channels, emb_channels)
        self.map_layer1 = nn.Linear(emb_channels, emb_channels)

        style = BlockStyle(s.resample_filter, s.dropout, math.sqrt(0.5), _EPS, adaptive_scale=False)

        def make_block(
            in_channels: int, out_channels: int, *, attention: bool = False, change: Change | None = None
        ) -> UNetBlock:
            return UNetBlock(in_channels, out_channels, emb_channels, style, heads=int(attention), change=change)

        self.add_levels(
            s.widths,
            s.model_channels,
            s.num_blocks,
            make_block,
            encoder_attends=s.attn_resolutions,
            decoder_attends=(),
        )
        self._add_image_branches(s.widths, in_channels, out_channels, s.resample_filter)
        self._initialise()

    def _add_image_branches(
        self, widths: Sequence[int], in_channels: int, out_channels: int, taps: Sequence[float]
    ) -> None:
        """Where images enter the encoder below the finest level, and where they leave the decoder."""
        image_channels = in_channels
        for name, channels in zip(self.levels[1:], widths, strict=False):
            if self.encoder_type == "skip":
                self.enc[f"{name}_aux_down"] = Resample("down", taps)
                self.enc[f"{name}_aux_skip"] = Conv(image_channels, channels, 1)
            elif self.encoder_type == "residual":
                self.enc[f"{name}_aux_residual"] = BlurredStridedConv(image_channels, channels, 3, taps)
                image_channels = channels
        for name, width in zip(self.levels, widths, strict=True):
            if self.decoder_type == "skip" or name == self.levels[0]:
                if name != self.levels[-1] and self.decoder_type == "skip":
                    self.dec[f"{name}_aux_up"] = Resample("up", taps)
                self.dec[f"{name}_aux_norm"] = group_norm(width, _EPS)
                self.dec[f"{name}_aux_conv"] = Conv(width, out_channels, 3)

    def _initialise(self) -> None:
        """Glorot-uniform weights and zero biases; nearly zero where a branch ends, smaller for attention."""
        for name, module in self.named_modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                last = name.rsplit(".", 1)[-1]
                gain = 1e-5 if last in ("conv1", "proj") or last.endswith("aux_conv") else 1.0
                nn.init.xavier_uniform_(module.weight, math.sqrt(0.2) if last == "qkv" else gain)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    @property
    def class_gain(self) -> float:
        return math.sqrt(self.num_classes)

    def embed(self, time: Tensor, condition: Condition) -> Tensor:
        emb = self.map_noise(time).to(self.map_layer0.weight.dtype)
        if self.map_label is not None:
            emb = emb + self.map_label(self.one_hot(condition).to(emb.dtype) * self.class_gain)
        if self.map_augment is not None:
            emb = emb + self.map_augment(emb.new_zeros(emb.shape[0], self.augment_dim))
        return F.silu(self.map_layer1(F.silu(self.map_layer0(emb))))

    def feed_image(self, name: str, x: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        if self.encoder_type == "skip":
            image = self.enc[f"{name}_aux_down"](image)
            return x + self.enc[f"{name}_aux_skip"](image), image
        if self.encoder_type == "residual":
            x = (x + self.enc[f"{name}_aux_residual"](image)) * math.sqrt(0.5)
            return x, x
        return x, image

    def read_image(self, name: str, x: Tensor, output: Tensor | None) -> Tensor | None:
        if f"{name}_aux_conv" not in self.dec:
            return output
        step = self.dec[f"{name}_aux_conv"](F.silu(self.dec[f"{name}_aux_norm"](x)))
        return step if output is None else self.dec[f"{name}_aux_up"](output) + step
