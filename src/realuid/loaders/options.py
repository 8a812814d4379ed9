"""What files of other libraries leave open."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ADMOptions:
    """Properties of an ADM U-Net that the shapes of its weights do not determine.

    Args:
        image_side: side length of the images. None: the level that has attention is taken to have side 16, torchcfm's
            default; where no level, the finest one or several have it, the side has to be said.
        head_channels: channels of an attention head (`num_head_channels`); None for one head, torchcfm's default.
        new_attention_order: whether the network was built with `use_new_attention_order`.
    """

    image_side: int | None = None
    head_channels: int | None = 64
    new_attention_order: bool = False
