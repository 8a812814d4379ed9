"""DDPM++ and NCSN++ (Song et al. 2021) as EDM trains them (Karras et al. 2022, Table 1 and Appendix F)."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from realuid.models.networks.condition import Condition
from realuid.models.networks.edm_blocks import (
    BlurredStridedConv,
    Change,
    Conv,
    FourierEmbedding,
    PositionalEmbedding,
    Resample,
    UNetBlock,
    group_norm,
)
from realuid.models.networks.edm_unet import EDMUNet

Embedding = Literal["positional", "fourier"]
Encoder = Literal["standard", "skip", "residual"]
Decoder = Literal["standard", "skip"]

_EPS = 1e-6


class SongUNet(EDMUNet):
    """DDPM++ (positional, standard, standard, taps 1 1) and NCSN++ (fourier, residual, standard, taps 1 3 3 1).

    Arguments have the names that EDM's pickles store.

    Args:
        img_resolution: height and width of the images.
        in_channels, out_channels: of the images.
        label_dim: number of classes, 0 for none.
        augment_dim: size of EDM's augmentation label, 0 for none. It is zero here: no augmentation.
        model_channels: channels of the first convolution.
        channel_mult: channels of each level, in units of model_channels, finest level first.
        channel_mult_emb: channels of the embedding, in units of model_channels.
        num_blocks: encoder blocks a level.
        attn_resolutions: sides of the levels with self-attention (one head).
        dropout: in the residual blocks.
        label_dropout: fraction of labels replaced by zeros while training.
        embedding_type: of the time.
        channel_mult_noise: channels of the time's embedding, in units of model_channels.
        encoder_type: how the halved input image enters each level: not at all, added, or added and carried on.
        decoder_type: whether the output image is read at the finest level only, or as a sum over all.
        resample_filter: taps of the low-pass filter.

    Raises:
        ConfigError: for an unknown type or sizes that do not fit.
    """

    def __init__(
        self,
        img_resolution: int,
        in_channels: int,
        out_channels: int,
        label_dim: int = 0,
        augment_dim: int = 0,
        model_channels: int = 128,
        channel_mult: Sequence[int] = (1, 2, 2, 2),
        channel_mult_emb: int = 4,
        num_blocks: int = 4,
        attn_resolutions: Sequence[int] = (16,),
        dropout: float = 0.1,
        label_dropout: float = 0.0,
        embedding_type: Embedding = "positional",
        channel_mult_noise: int = 1,
        encoder_type: Encoder = "standard",
        decoder_type: Decoder = "standard",
        resample_filter: Sequence[float] = (1, 1),
    ):
        settings = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        super().__init__(settings, img_resolution, in_channels, out_channels, label_dim, label_dropout)
        self.encoder_type, self.decoder_type, self.augment_dim = encoder_type, decoder_type, augment_dim
        noise_channels, emb_channels = model_channels * channel_mult_noise, model_channels * channel_mult_emb
        widths = [model_channels * m for m in channel_mult]

        self.map_noise: nn.Module
        if embedding_type == "positional":
            self.map_noise = PositionalEmbedding(noise_channels, endpoint=True, cosine_first=False)
        else:
            self.map_noise = FourierEmbedding(noise_channels)
        self.map_label = nn.Linear(label_dim, noise_channels) if label_dim else None
        self.map_augment = nn.Linear(augment_dim, noise_channels, bias=False) if augment_dim else None
        self.map_layer0 = nn.Linear(noise_channels, emb_channels)
        self.map_layer1 = nn.Linear(emb_channels, emb_channels)

        block = functools.partial(
            UNetBlock,
            emb_channels=emb_channels,
            taps=resample_filter,
            dropout=dropout,
            skip_scale=math.sqrt(0.5),
            eps=_EPS,
            project_skip=True,
            adaptive_scale=False,
        )

        def make_block(
            in_channels: int, out_channels: int, *, attention: bool = False, change: Change | None = None
        ) -> UNetBlock:
            return block(in_channels, out_channels, heads=int(attention), change=change)

        self.add_levels(
            widths, model_channels, num_blocks, make_block, encoder_attends=attn_resolutions, decoder_attends=()
        )
        self._add_image_branches(widths, in_channels, out_channels, resample_filter)
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

    def embed(self, time: Tensor, condition: Condition) -> Tensor:
        emb = self.map_noise(time).to(self.map_layer0.weight.dtype)
        if self.map_label is not None:
            emb = emb + self.map_label(self.one_hot(condition).to(emb.dtype) * math.sqrt(self.num_classes))
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
