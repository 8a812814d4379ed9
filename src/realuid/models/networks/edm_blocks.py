"""Blocks of EDM's DDPM++, NCSN++ and ADM networks.

Rebuilt from Song et al. 2021, Dhariwal & Nichol 2021 and Karras et al. 2022 (Table 1, Appendix F). Names and shapes of
parameters and buffers are those of EDM's published network pickles, so that their weights load by name.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from realuid.errors import ConfigError

Change = Literal["up", "down"]


class PositionalEmbedding(nn.Module):
    """Sines and cosines of the time at frequencies from 1 down to 1 / 10,000 in geometric progression.

    Args:
        channels: of the embedding.
        endpoint: whether 1 / 10,000 itself is the last frequency (DDPM++) or the next one would be (ADM).
        cosine_first: order of the halves: cosines and sines (ADM), or sines and cosines (DDPM++).
    """

    def __init__(self, channels: int, endpoint: bool, cosine_first: bool):
        super().__init__()
        self.channels, self.endpoint, self.cosine_first = channels, endpoint, cosine_first

    def forward(self, time: Tensor) -> Tensor:
        """Args: time, shape (b,). Returns: shape (b, channels), float32."""
        half = self.channels // 2
        exponents = torch.arange(half, device=time.device, dtype=torch.float32) / (half - self.endpoint)
        angles = torch.outer(time.float(), 10_000**-exponents)
        return torch.cat([angles.cos(), angles.sin()] if self.cosine_first else [angles.sin(), angles.cos()], dim=1)


class FourierEmbedding(nn.Module):
    """Sines and cosines of the time at fixed random frequencies (NCSN++).

    Args:
        channels: of the embedding.
        scale: standard deviation of the frequencies, in turns per unit of time.
    """

    freqs: Tensor

    def __init__(self, channels: int, scale: float = 16.0):
        super().__init__()
        self.register_buffer("freqs", torch.randn(channels // 2) * scale)

    def forward(self, time: Tensor) -> Tensor:
        """Args: time, shape (b,). Returns: shape (b, channels), float32."""
        angles = torch.outer(time.float(), 2 * math.pi * self.freqs.float())
        return torch.cat([angles.sin(), angles.cos()], dim=1)


class Resample(nn.Module):
    """Double or halve the resolution through a separable low-pass filter.

    Args:
        change: "up" or "down".
        taps: the filter along one axis: (1, 1) is the box, (1, 3, 3, 1) a binomial.
    """

    resample_filter: Tensor

    def __init__(self, change: Change, taps: Sequence[float]):
        super().__init__()
        self.change = change
        self.register_buffer("resample_filter", low_pass(taps))

    def forward(self, x: Tensor) -> Tensor:
        """Args: x, shape (b, c, h, w). Returns: shape (b, c, 2h, 2w) or (b, c, h/2, w/2)."""
        return resample(x, self.change, self.resample_filter)


class Conv(nn.Conv2d):
    """A convolution that keeps the resolution, after a change of resolution where one is asked for.

    Args:
        in_channels, out_channels, kernel: of the convolution; the kernel's side is odd.
        change, taps: as in `Resample`; None for no change.
    """

    resample_filter: Tensor

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, change: Change | None = None, taps: Sequence[float] = ()
    ):
        super().__init__(in_channels, out_channels, kernel, padding=kernel // 2)
        self.change = change
        if change:
            self.register_buffer("resample_filter", low_pass(taps))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(resample(x, self.change, self.resample_filter) if self.change else x)


class BlurredStridedConv(nn.Conv2d):
    """Low-pass filter, then convolution with stride 2; one padding for both, so that the order does not matter.

    Args:
        in_channels, out_channels, kernel: of the convolution.
        taps: of the filter.
    """

    resample_filter: Tensor

    def __init__(self, in_channels: int, out_channels: int, kernel: int, taps: Sequence[float]):
        super().__init__(in_channels, out_channels, kernel, stride=2)
        self.blur_padding = kernel // 2 + (len(taps) - 1) // 2
        self.register_buffer("resample_filter", low_pass(taps))

    def forward(self, x: Tensor) -> Tensor:
        kernel = self.resample_filter.to(x.dtype).expand(x.shape[1], 1, -1, -1)
        return super().forward(F.conv2d(x, kernel, padding=self.blur_padding, groups=x.shape[1]))


def low_pass(taps: Sequence[float]) -> Tensor:
    """The separable filter with these taps, sum 1, shape (1, 1, n, n)."""
    row = torch.tensor(taps, dtype=torch.float32)
    return (torch.outer(row, row) / row.sum() ** 2)[None, None]


def resample(x: Tensor, change: Change, filter: Tensor) -> Tensor:
    """Halve x by a strided convolution with the filter, channel by channel, or double it by the transposed one."""
    channels, padding = x.shape[1], (filter.shape[-1] - 1) // 2
    kernel = filter.to(x.dtype).expand(channels, 1, -1, -1)
    if change == "down":
        return F.conv2d(x, kernel, stride=2, padding=padding, groups=channels)
    return F.conv_transpose2d(x, 4 * kernel, stride=2, padding=padding, groups=channels)


def group_norm(channels: int, eps: float) -> nn.GroupNorm:
    """Group normalisation with 32 groups, fewer where a group would have less than 4 channels."""
    groups = min(32, channels // 4)
    if groups < 1 or channels % groups:
        raise ConfigError(f"{channels} channels cannot be normalised in {groups} groups: use a multiple of 4 (or 32).")
    return nn.GroupNorm(groups, channels, eps)


@dataclass(frozen=True)
class BlockStyle:
    """Settings shared by all blocks of a network.

    Attributes:
        taps: of the filter where the resolution changes, as in `Resample`.
        dropout: probability, before the second convolution.
        skip_scale: factor on every sum of a branch and its skip connection: 1, or sqrt(1/2) to keep the variance.
        eps: of the normalisations.
        project_skip: whether a skip connection that changes resolution also has a 1x1 convolution.
        adaptive_scale: the embedding gives scale and shift after the normalisation (ADM), or a shift before it.
    """

    taps: Sequence[float] = (1, 1)
    dropout: float = 0.0
    skip_scale: float = 1.0
    eps: float = 1e-5
    project_skip: bool = True
    adaptive_scale: bool = True


class UNetBlock(nn.Module):
    """Residual block with time modulation, optional change of resolution and optional self-attention.

    Args:
        in_channels, out_channels: of the block.
        emb_channels: of the time and class embedding.
        style: of the network.
        heads: attention heads; 0 for no attention.
        change: of the resolution, as in `Resample`.
    """

    #: Whether activations are recomputed in the backward pass (activation checkpointing).
    recompute = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        emb_channels: int,
        style: BlockStyle = BlockStyle(),
        *,
        heads: int = 0,
        change: Change | None = None,
    ):
        super().__init__()
        if heads and out_channels % heads:
            raise ConfigError(f"{out_channels} channels cannot be split into {heads} attention heads.")
        self.heads = heads
        self.skip_scale, self.adaptive_scale = style.skip_scale, style.adaptive_scale
        self.norm0 = group_norm(in_channels, style.eps)
        self.conv0 = Conv(in_channels, out_channels, 3, change, style.taps)
        self.affine = nn.Linear(emb_channels, out_channels * (2 if style.adaptive_scale else 1))
        self.norm1 = group_norm(out_channels, style.eps)
        self.dropout = nn.Dropout(style.dropout)
        self.conv1 = Conv(out_channels, out_channels, 3)
        self.skip: nn.Module = nn.Identity()
        if in_channels != out_channels or (change and style.project_skip):
            self.skip = Conv(in_channels, out_channels, 1, change, style.taps)
        elif change:
            self.skip = Resample(change, style.taps)
        if heads:
            self.norm2 = group_norm(out_channels, style.eps)
            self.qkv = Conv(out_channels, out_channels * 3, 1)
            self.proj = Conv(out_channels, out_channels, 1)

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        """Args: x, shape (b, in_channels, h, w); emb, shape (b, emb_channels). Returns: (b, out_channels, h', w')."""
        if self.recompute and torch.is_grad_enabled():
            return checkpoint(self._forward, x, emb, use_reentrant=False)
        return self._forward(x, emb)

    def _forward(self, x: Tensor, emb: Tensor) -> Tensor:
        h = self.conv0(F.silu(self.norm0(x)))
        modulation = self.affine(emb)[:, :, None, None]
        if self.adaptive_scale:
            scale, shift = modulation.chunk(2, dim=1)
            h = torch.addcmul(shift, self.norm1(h), scale + 1)
        else:
            h = self.norm1(h + modulation)
        h = self.conv1(self.dropout(F.silu(h)))
        x = (h + self.skip(x)) * self.skip_scale
        if self.heads:
            x = (self.proj(self.attend(self.norm2(x))) + x) * self.skip_scale
        return x

    def attend(self, x: Tensor) -> Tensor:
        """Self-attention over the pixels; a head's channels hold query, key and value of one channel in turn."""
        b, c, height, width = x.shape
        qkv = self.qkv(x).reshape(b, self.heads, c // self.heads, 3, height * width)
        q, k, v = qkv.permute(3, 0, 1, 4, 2).contiguous()  # fused kernels want a head's channels side by side
        return F.scaled_dot_product_attention(q, k, v).transpose(2, 3).reshape(b, c, height, width)
