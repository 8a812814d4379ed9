"""The ADM U-Net (Dhariwal & Nichol 2021), as torchcfm builds it: the settings with which diffusers' `UNet2DModel`
computes the same function, inferred from the shapes of the weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from realuid.errors import CheckpointError
from realuid.loaders.options import ADMOptions

Weights = Mapping[str, Tensor]
Settings = Mapping[str, Any]

_GROUPS = 32
#: Settings of `UNet2DModel` that every ADM U-Net has; the others depend on the network.
_FIXED = {
    "center_input_sample": False,
    "time_embedding_type": "positional",
    "time_embedding_dim": None,
    "freq_shift": 0,
    "flip_sin_to_cos": True,
    "mid_block_type": "UNetMidBlock2D",
    "mid_block_scale_factor": 1,
    "downsample_padding": 1,
    "downsample_type": "conv",
    "upsample_type": "conv",
    "act_fn": "silu",
    "norm_num_groups": _GROUPS,
    "norm_eps": 1e-5,
    "add_attention": True,
    "class_embed_type": None,
}
#: Normalisation of the attention in the middle: scale-shift networks have to name it, others inherit it.
_MIDDLE_GROUPS = {"default": None, "scale_shift": _GROUPS}
_DOWN = {False: "DownBlock2D", True: "AttnDownBlock2D"}
_UP = {False: "UpBlock2D", True: "AttnUpBlock2D"}


#: The RealUID authors' networks and torchcfm's CIFAR-10 example.
PUBLISHED = ADMOptions()


def is_adm(weights: object) -> bool:
    """Whether something is the state dict of an ADM U-Net: a time embedding, both ends and attention in the middle."""
    landmarks = ("time_embed.0.weight", "input_blocks.0.0.weight", "middle_block.1.qkv.weight", "out.2.weight")
    return (
        isinstance(weights, Mapping)
        and all(name in weights for name in landmarks)
        and all(isinstance(value, Tensor) for value in weights.values())
    )


def infer_settings(weights: Weights, options: ADMOptions = PUBLISHED) -> dict[str, Any]:
    """Settings with which `UNet2DModel` computes the same function.

    Args:
        weights: state dict of an ADM U-Net.
        options: what shapes do not determine.

    Raises:
        CheckpointError: for an architecture that `UNet2DModel` does not have, or where `options` has to say more.
    """
    levels = _levels(weights)
    channels, attention = [level.channels for level in levels], [level.attention for level in levels]
    base, embedding = _size(weights, "time_embed.0.weight", 1), _size(weights, "time_embed.0.weight", 0)
    if (base, embedding) != (channels[0], 4 * channels[0]):
        raise CheckpointError(
            f"a time embedding {base} -> {embedding} wide with {channels[0]} channels at the first level cannot be "
            "converted: the first channel multiplier has to be 1."
        )
    if any(width % _GROUPS for width in channels):
        raise CheckpointError(f"{channels} channels cannot be normalised in {_GROUPS} groups, as an ADM U-Net does.")
    inlet, outlet = _size(weights, "input_blocks.0.0.weight", 1), _size(weights, "out.2.weight", 0)
    if inlet != outlet:
        raise CheckpointError(
            f"the network has {inlet} input and {outlet} output channels: learn_sigma cannot be used."
        )
    modulation = _size(weights, "input_blocks.1.0.emb_layers.1.weight", 0)
    norm = "scale_shift" if modulation == 2 * channels[0] else "default"
    _check_heads(channels, attention, options.head_channels)
    return {
        **_FIXED,
        "sample_size": _image_side(attention, options.image_side),
        "in_channels": inlet,
        "out_channels": outlet,
        "block_out_channels": channels,
        "layers_per_block": levels[0].blocks,
        "down_block_types": [_DOWN[a] for a in attention],
        "up_block_types": [_UP[a] for a in reversed(attention)],
        "attention_head_dim": options.head_channels,
        "attn_norm_num_groups": _MIDDLE_GROUPS[norm],
        "resnet_time_scale_shift": norm,
        "num_class_embeds": _size(weights, "label_emb.weight", 0) if "label_emb.weight" in weights else None,
    }


def check_settings(settings: Settings) -> None:
    """Raise CheckpointError unless a `UNet2DModel` with these (complete) settings is an ADM U-Net."""
    attention = attention_levels(settings)
    norm = settings["resnet_time_scale_shift"]
    needed = {
        **_FIXED,
        "resnet_time_scale_shift": norm if norm in _MIDDLE_GROUPS else "default",
        "in_channels": settings["out_channels"],
        "down_block_types": [_DOWN[a] for a in attention],
        "up_block_types": [_UP[a] for a in reversed(attention)],
        "attn_norm_num_groups": _MIDDLE_GROUPS.get(norm),
    }
    for name, value in needed.items():
        own = settings[name]
        if (list(own) if isinstance(own, tuple) else own) != value:
            raise CheckpointError(f"{name} = {own}: an ADM U-Net has {value}, so this network has no such form.")
    _check_heads(settings["block_out_channels"], attention, settings["attention_head_dim"])


def attention_levels(settings: Settings) -> list[bool]:
    """Which resolutions have attention, finest first."""
    return [kind == _DOWN[True] for kind in settings["down_block_types"]]


class _Level(NamedTuple):
    channels: int
    blocks: int
    attention: bool


def _levels(weights: Weights) -> list[_Level]:
    """The encoder's resolutions, finest first: runs of equal residual blocks between strided convolutions."""
    runs: list[list[tuple[int, bool]]] = [[]]
    number = 1
    while any(name.startswith(f"input_blocks.{number}.") for name in weights):
        if f"input_blocks.{number}.0.op.weight" in weights:
            runs.append([])
        else:
            attention = f"input_blocks.{number}.1.qkv.weight" in weights
            runs[-1].append((_size(weights, f"input_blocks.{number}.0.out_layers.3.weight", 0), attention))
        number += 1
    if any(len(set(run)) != 1 or len(run) != len(runs[0]) for run in runs):
        raise CheckpointError(
            f"the levels of the encoder hold blocks of (channels, attention) = {runs}: each level needs as many, all "
            "equal, and strided convolutions between them (resblock_updown cannot be converted)."
        )
    return [_Level(run[0][0], len(run), run[0][1]) for run in runs]


def _image_side(attention: list[bool], side: int | None) -> int:
    """The side of the images: what was said, or what puts the one level with attention at side 16."""
    where = [level for level, has in enumerate(attention) if has]
    if side is None and (len(where) != 1 or where == [0]):
        raise CheckpointError(
            f"the weights do not tell the size of the images: attention is at levels {where} of {len(attention)} (0 is "
            "the finest). Pass image_side (or convert it: `realuid convert FILE OUT --adm.image-side N`)."
        )
    side = 16 * 2 ** where[0] if side is None else side
    if side < 1 or side % 2 ** (len(attention) - 1):
        raise CheckpointError(f"images of side {side} cannot be halved {len(attention) - 1} times: pass image_side.")
    return side


def _check_heads(channels: Sequence[int], attention: Sequence[bool], head: int | None) -> None:
    for width in (channels[-1], *(width for width, has in zip(channels, attention, strict=True) if has)):
        if head is not None and (head < 1 or width % head):
            raise CheckpointError(
                f"attention over {width} channels has no heads of {head}: pass head_channels "
                "(or convert it: `realuid convert FILE OUT --adm.head-channels N`)."
            )


def _size(weights: Weights, name: str, axis: int) -> int:
    """Length of one axis of a weight that every ADM U-Net has."""
    value = weights.get(name)
    if not isinstance(value, Tensor) or value.dim() <= axis:
        raise CheckpointError(f"the checkpoint is not of an ADM U-Net: '{name}' is missing or of another shape.")
    return value.shape[axis]
