"""The skin tone that an emoji shows, measured in pixels, and the one that its caption asks for."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

#: Skin tones as captions name them, in Unicode's order, and the RGB of that skin in Noto Emoji: the most frequent
#: colour, but white, of the images of each tone.
TONES = ("light", "medium-light", "medium", "medium-dark", "dark")
SKIN = torch.tensor([(250, 221, 190), (225, 186, 149), (186, 142, 105), (164, 109, 66), (112, 81, 73)])
#: Largest distance in RGB of a pixel that counts as skin, less than half of that between two tones, and the fewest such
#: pixels (of 64 x 64) by which a tone is told.
_NEAR, _FEWEST = 25.0, 20 / 64**2


def asked_tone(caption: str) -> int | None:
    """Number in `TONES` of what a caption ("surfer, medium-dark skin tone") asks for; None if it asks for none."""
    who, _, tone = caption.rpartition(", ")
    name = tone.removesuffix(" skin tone")
    return TONES.index(name) if who and tone != name and name in TONES else None


def shown_tone(images: Tensor) -> Tensor:
    """Number of the tone that most pixels of an image are near to; -1 where too few are near to any.

    Args:
        images: uint8, shape (b, 3, h, w).

    Returns:
        int64, shape (b,).
    """
    pixels = images.float().flatten(2).transpose(1, 2)
    distance = torch.cdist(pixels, SKIN.float().expand(len(images), -1, -1))
    nearest, tone = distance.min(2)
    near = torch.nn.functional.one_hot(tone, len(TONES)) * (nearest < _NEAR)[..., None]
    most, found = near.sum(1).max(1)
    return found.where(most >= _FEWEST * pixels.shape[1], -1)


def right_tones(images: Tensor, captions: Sequence[str]) -> float | None:
    """Of the images whose caption asks for a skin tone, the fraction that show it; None if no caption asks for one."""
    asked = [(i, tone) for i, caption in enumerate(captions) if (tone := asked_tone(caption)) is not None]
    if not asked or images.shape[1] != 3:
        return None
    rows, tones = torch.tensor(asked).unbind(1)
    shown = torch.cat([shown_tone(part) for part in images[rows].split(64)])
    return (shown == tones).float().mean().item()
