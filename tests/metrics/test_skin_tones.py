"""Skin tones of emoji: read from captions, and from pixels."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from realuid.metrics.skin_tones import SKIN, TONES, asked_tone, right_tones, shown_tone


def painted(tone: int, pixels: int = 40, other: tuple[int, int, int] = (60, 120, 220)) -> Tensor:
    """White, a blue garment of 2,000 pixels, and so many pixels of skin, with noise of 4 of 255."""
    image = torch.full((3, 64 * 64), 255.0)
    image[:, :2000] = torch.tensor(other, dtype=torch.float)[:, None]
    image[:, 3000 : 3000 + pixels] = SKIN[tone].float()[:, None]
    noise = 4 * torch.randn(image.shape, generator=torch.Generator().manual_seed(tone))
    return (image + noise).clamp(0, 255).to(torch.uint8).view(3, 64, 64)


@pytest.mark.parametrize(
    ("caption", "tone"),
    [
        ("surfer, medium-dark skin tone", "medium-dark"),
        ("woman: curly hair, light skin tone", "light"),
        ("surfer", None),
        ("dark skin tone", None),  # the swatch itself: nobody is shown
        ("handshake, light skin tone, dark", None),
        ("surfer, blue skin tone", None),
    ],
)
def test_the_tone_that_a_caption_asks_for(caption: str, tone: str | None) -> None:
    assert asked_tone(caption) == (None if tone is None else TONES.index(tone))


def test_every_tone_is_read_from_noisy_pixels() -> None:
    assert shown_tone(torch.stack([painted(tone) for tone in range(5)])).tolist() == [0, 1, 2, 3, 4]


def test_too_few_pixels_tell_no_tone() -> None:
    """20 of 64 x 64 are needed; a garment of a colour between two tones counts for none."""
    assert shown_tone(torch.stack([painted(2, 19), painted(2, 20)])).tolist() == [-1, 2]
    between = tuple(((SKIN[0] + SKIN[2]) // 2 + torch.tensor([0, 0, 40])).tolist())
    assert shown_tone(painted(4, 30, between)[None]).tolist() == [4]


def test_the_fraction_is_of_images_that_are_asked_for_a_tone() -> None:
    images = torch.stack([painted(0), painted(1), painted(3), painted(4)])
    captions = ["man, light skin tone", "man, dark skin tone", "a red car", "woman, dark skin tone"]
    assert right_tones(images, captions) == pytest.approx(2 / 3)
    assert right_tones(images, ["a", "b", "c", "d"]) is None
    assert right_tones(images[:, :1], captions) is None  # grey
