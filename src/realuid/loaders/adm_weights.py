"""Exact conversion of ADM U-Net weights to the names and shapes of diffusers' `UNet2DModel` and back."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from realuid.loaders.adm import Settings, Weights, attention_levels

_RESIDUAL = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
_ATTENTION = {"norm": "group_norm", "qkv": "to_{}", "proj_out": "to_out.0"}


def to_diffusers(weights: Weights, settings: Settings, new_attention_order: bool = False) -> dict[str, Tensor]:
    """Weights of an ADM U-Net under the names and shapes of `UNet2DModel`.

    Args:
        weights: state dict of an ADM U-Net; other tensors, such as a discriminator's head, are left out.
        settings: from `infer_settings`.
        new_attention_order: see `ADMOptions`.
    """
    converted: dict[str, Tensor] = {}
    for theirs, ours in _parameters(settings):
        if theirs not in weights:
            continue
        value = weights[theirs]
        if ".qkv." in theirs:
            parts = _unpack(value, settings, new_attention_order)
            converted.update(zip(_qkv_names(ours), parts, strict=True))
        else:
            converted[ours] = value.squeeze(-1) if theirs.endswith("proj_out.weight") else value
    return converted


def from_diffusers(weights: Weights, settings: Settings, new_attention_order: bool = False) -> dict[str, Tensor]:
    """The inverse of `to_diffusers`, in the order of an ADM U-Net's own state dict.

    Args:
        weights: state dict of a `UNet2DModel`.
        settings: its settings, which `check_settings` accepts.
        new_attention_order: see `ADMOptions`.
    """
    restored: dict[str, Tensor] = {}
    for theirs, ours in _parameters(settings):
        if ".qkv." in theirs:
            restored[theirs] = _pack([weights[name] for name in _qkv_names(ours)], settings, new_attention_order)
        elif ours in weights:
            restored[theirs] = weights[ours].unsqueeze(-1) if theirs.endswith("proj_out.weight") else weights[ours]
    return restored


def _parameters(settings: Settings) -> Iterator[tuple[str, str]]:
    """Every parameter's name there and here, in the order of an ADM U-Net's state dict; some may not exist."""
    for theirs, ours in _modules(settings):
        for kind in ("weight", "bias"):
            yield f"{theirs}.{kind}", f"{ours}.{kind}"


def _modules(settings: Settings) -> Iterator[tuple[str, str]]:
    attention, blocks = attention_levels(settings), settings["layers_per_block"]
    yield "time_embed.0", "time_embedding.linear_1"
    yield "time_embed.2", "time_embedding.linear_2"
    yield "label_emb", "class_embedding"

    yield "input_blocks.0.0", "conv_in"
    number = 1
    for level, has in enumerate(attention):
        for block in range(blocks):
            yield from _block(f"input_blocks.{number}", f"down_blocks.{level}", block, has)
            number += 1
        if level < len(attention) - 1:
            yield f"input_blocks.{number}.0.op", f"down_blocks.{level}.downsamplers.0.conv"
            number += 1

    yield from _within("middle_block.0", "mid_block.resnets.0", _RESIDUAL)
    yield from _within("middle_block.1", "mid_block.attentions.0", _ATTENTION)
    yield from _within("middle_block.2", "mid_block.resnets.1", _RESIDUAL)

    number = 0
    for level, has in enumerate(reversed(attention)):
        for block in range(blocks + 1):
            yield from _block(f"output_blocks.{number}", f"up_blocks.{level}", block, has)
            number += 1
        if level < len(attention) - 1:
            yield f"output_blocks.{number - 1}.{1 + has}.conv", f"up_blocks.{level}.upsamplers.0.conv"
    yield "out.0", "conv_norm_out"
    yield "out.2", "conv_out"


def _block(theirs: str, ours: str, block: int, attention: bool) -> Iterator[tuple[str, str]]:
    yield from _within(f"{theirs}.0", f"{ours}.resnets.{block}", _RESIDUAL)
    if attention:
        yield from _within(f"{theirs}.1", f"{ours}.attentions.{block}", _ATTENTION)


def _within(theirs: str, ours: str, names: dict[str, str]) -> Iterator[tuple[str, str]]:
    for there, here in names.items():
        yield f"{theirs}.{there}", f"{ours}.{here}"


def _qkv_names(ours: str) -> list[str]:
    """'to_{}.weight' stands for the three layers to_q, to_k and to_v."""
    return [ours.format(part) for part in "qkv"]


def _unpack(packed: Tensor, settings: Settings, new_order: bool) -> list[Tensor]:
    """Rows of q, k and v out of a packed 1-d convolution (3 c, c, 1) or its bias (3 c,): (c, c) or (c,) each.

    The old order is head by head, q, k, v within each; the new one is q of all heads, then k, then v.
    """
    packed = packed.squeeze(-1) if packed.dim() == 3 else packed
    heads = 1 if new_order else _heads(packed.shape[0] // 3, settings)
    return [part.flatten(0, 1) for part in packed.unflatten(0, (heads, 3, -1)).unbind(1)]


def _pack(parts: list[Tensor], settings: Settings, new_order: bool) -> Tensor:
    """The inverse of `_unpack`."""
    heads = 1 if new_order else _heads(parts[0].shape[0], settings)
    packed = torch.stack([part.unflatten(0, (heads, -1)) for part in parts], dim=1).flatten(0, 2)
    return packed.unsqueeze(-1) if packed.dim() == 2 else packed


def _heads(channels: int, settings: Settings) -> int:
    return channels // (settings["attention_head_dim"] or channels)
