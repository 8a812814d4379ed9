"""Options for properties that files of other libraries do not record."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ADMOptions:
    """Properties of an ADM U-Net that the shapes of its weights do not determine.

    Args:
        image_side: side length of the images. None: inferred from the only level with attention, taken as 16 x 16, the
            default of torchcfm; required if no level, several levels or the finest level have attention.
        head_channels: channels of an attention head (`num_head_channels`); None for one head, torchcfm's default.
        new_attention_order: whether the network was built with `use_new_attention_order`.
    """

    image_side: int | None = None
    head_channels: int | None = 64
    new_attention_order: bool = False
