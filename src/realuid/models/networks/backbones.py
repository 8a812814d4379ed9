"""Building networks for given data, and checks that they fit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from realuid.errors import ConfigError
from realuid.settings import check_range, check_types

if TYPE_CHECKING:
    from realuid.models.networks.base import Network


@dataclass(frozen=True)
class NetworkConfig:
    """The network, built from diffusers' U-Nets (images; with captions the text-conditioned one) or a residual MLP (2D
    toy data).
    """

    #: U-Net for images, or MLP for 2D toy data.
    architecture: Literal["unet", "mlp"] = "unet"
    #: Channels of each resolution level, finest first (unet), or the width (mlp).
    channels: tuple[int, ...] = (128, 256, 256, 256)
    #: Residual blocks per level (unet), or in total (mlp).
    blocks: int = 2
    #: Side lengths of the feature maps with self-attention and, for captions, cross-attention (unet).
    attention_at: tuple[int, ...] = (16,)
    #: Channels per attention head (unet).
    head_channels: int = 64
    #: Dropout in the training of a teacher; distillation uses none.
    dropout: float = 0.0

    def __post_init__(self) -> None:
        check_types(self)
        check_range(self, "[1, inf)", "channels", "blocks", "attention_at", "head_channels")
        check_range(self, "[0, 1)", "dropout")
        if not self.channels:
            raise ConfigError("channels = (): at least one level is needed.")


def build_network(
    config: NetworkConfig,
    shape: tuple[int, ...],
    num_classes: int = 0,
    sees_source: bool = False,
    heads: int = 1,
    text: int = 0,
) -> Network:
    """A network with random weights for samples of a shape.

    Args:
        config: the architecture.
        shape: (c, h, w) for a unet, (d,) for an mlp.
        num_classes: 0 for unconditional.
        sees_source: whether x_T is an input (conditional bridges).
        heads: number of predictions of the network: `realuid.paths.heads(prediction)`.
        text: width of the embeddings of prompts that it reads, 0 for none.

    Raises:
        ConfigError: where architecture and shape do not fit.
    """
    from realuid.models.networks.base import MLP, UNet
    from realuid.models.networks.text_unet import TextUNet

    if config.architecture == "mlp":
        if len(shape) != 1:
            raise ConfigError(f"architecture 'mlp' is for points, but the data has shape {shape}. Use 'unet'.")
        if text:
            raise ConfigError("architecture 'mlp' reads no text. Leave the captions out, or use 'unet'.")
        return MLP(shape[0], config.channels[0], config.blocks, num_classes, sees_source, heads)
    if len(shape) != 3:
        raise ConfigError(f"architecture 'unet' is for images, but the data has shape {shape}. Use 'mlp'.")
    settings = _unet_settings(config, shape, num_classes, sees_source, heads)
    if text:
        return TextUNet(sees_source=sees_source, heads=heads, **_with_text(config, settings, text))
    return UNet(sees_source=sees_source, heads=heads, **settings)


def _unet_settings(
    config: NetworkConfig, shape: tuple[int, ...], num_classes: int, sees_source: bool, heads: int
) -> dict:
    channels, height, width = shape
    halvings = len(config.channels) - 1
    if height % 2**halvings or width % 2**halvings:
        raise ConfigError(
            f"images of {width}x{height} cannot be halved {halvings} times, as channels = {config.channels} asks. "
            "Use fewer levels."
        )
    attention = [height // 2**level in config.attention_at for level in range(halvings + 1)]
    groups = math.gcd(*config.channels, 32)
    return {
        "sample_size": height if height == width else (height, width),
        "in_channels": channels * (2 if sees_source else 1),
        "out_channels": channels * heads,
        "block_out_channels": list(config.channels),
        "layers_per_block": config.blocks,
        "down_block_types": ["AttnDownBlock2D" if a else "DownBlock2D" for a in attention],
        "up_block_types": ["AttnUpBlock2D" if a else "UpBlock2D" for a in reversed(attention)],
        "add_attention": any(attention),
        "attention_head_dim": min(config.head_channels, *config.channels),
        "norm_num_groups": groups,
        "dropout": config.dropout,
        "num_class_embeds": num_classes or None,
    }


def _with_text(config: NetworkConfig, settings: dict, text: int) -> dict:
    """The settings of `UNet2DConditionModel` that are the same as those of `UNet2DModel`, with cross-attention."""
    crossed = {"AttnDownBlock2D": "CrossAttnDownBlock2D", "AttnUpBlock2D": "CrossAttnUpBlock2D"}
    kinds = {k: [crossed.get(kind, kind) for kind in settings[k]] for k in ("down_block_types", "up_block_types")}
    same = {name: value for name, value in settings.items() if name not in ("add_attention", "attention_head_dim")}
    most = [max(1, width // config.head_channels) for width in config.channels]
    heads = [max(n for n in range(1, m + 1) if width % n == 0) for width, m in zip(config.channels, most, strict=True)]
    # diffusers calls the number of heads attention_head_dim here
    return {**same, **kinds, "cross_attention_dim": text, "attention_head_dim": heads}
