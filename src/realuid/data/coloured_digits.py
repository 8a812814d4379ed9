"""The bundled digits in colours, with captions such as "a red seven on blue"; made in memory, for text-to-image demos.

Every image of a digit is drawn in every ink on every ground. Combinations (digit, ink, ground) whose numbers sum to a
multiple of six are held out: each digit, ink and ground, and each pair of them, is seen in training, but not these
triples, so images of their captions show whether a model binds words to what they describe.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from realuid.data.dataset import Dataset
from realuid.errors import DataError

#: Names of this data: for training, and the combinations that are held out.
COLOURED, HELD_OUT = "coloured-digits", "coloured-digits:held-out"
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
COLOURS = ("red", "yellow", "green", "cyan", "blue", "purple")
#: RGB of inks, which are light, and of grounds, which are dark: a red seven on red can be seen.
INKS = torch.tensor(
    [(255, 96, 96), (255, 240, 96), (96, 255, 96), (96, 240, 255), (112, 128, 255), (240, 112, 255)],
    dtype=torch.float32,
)
GROUNDS = torch.tensor(
    [(112, 0, 0), (104, 88, 0), (0, 96, 0), (0, 88, 96), (0, 0, 128), (80, 0, 104)], dtype=torch.float32
)


def held_out(digit: Tensor, ink: Tensor, ground: Tensor) -> Tensor:
    """Which combinations are not used for training, bool; arguments are numbers of one shape."""
    return (digit + ink + ground) % len(COLOURS) == 0


def caption(digit: int, ink: int, ground: int) -> str:
    """The text of a combination: "a red seven on blue"."""
    return f"a {COLOURS[ink]} {DIGITS[digit]} on {COLOURS[ground]}"


def combination(text: str) -> tuple[int, int, int]:
    """Numbers of digit, ink and ground of a caption.

    Raises:
        DataError: for any other text.
    """
    match text.split():
        case ["a", ink, digit, "on", ground] if ink in COLOURS and digit in DIGITS and ground in COLOURS:
            return DIGITS.index(digit), COLOURS.index(ink), COLOURS.index(ground)
    raise DataError(
        f"'{text[:80]}' is no caption of {COLOURED}: needed is 'a INK DIGIT on GROUND' with colours "
        f"{', '.join(COLOURS)} and digits {', '.join(DIGITS)}."
    )


def colour(digits: Tensor, ink: Tensor, ground: Tensor) -> Tensor:
    """Grey digits, uint8, shape (b, 1, h, w), drawn in inks on grounds (numbers, shape (b,)): uint8, (b, 3, h, w)."""
    share = digits.float() / 255
    light, dark = (table[number][:, :, None, None] for table, number in ((INKS, ink), (GROUNDS, ground)))
    return (share * light + (1 - share) * dark).round().to(torch.uint8)


def read_colours(images: Tensor) -> tuple[Tensor, Tensor]:
    """Ink and ground of coloured digits, measured in pixels.

    Args:
        images: uint8, shape (b, 3, h, w).

    Returns:
        numbers of ink and ground, each int64, shape (b,): of all pairs of both, the one with the smallest sum of
        squared distances between pixels and the segment from the ground's colour to the ink's.
    """
    pixels = images.float().flatten(2).transpose(1, 2)[:, None]  # (b, 1, pixels, 3)
    ink, ground = torch.cartesian_prod(torch.arange(len(INKS)), torch.arange(len(GROUNDS))).unbind(1)
    start = GROUNDS[ground][None, :, None]  # (1, pairs, 1, 3)
    way = INKS[ink][None, :, None] - start
    share = (((pixels - start) * way).sum(-1, keepdim=True) / way.square().sum(-1, keepdim=True)).clamp(0, 1)
    best = (pixels - start - share * way).square().sum((-1, -2)).argmin(1)
    return ink[best], ground[best]


def coloured_digits(digits: Dataset, name: str = COLOURED) -> Dataset:
    """The images of this name in a fixed shuffled order, with captions; labels are the digits.

    Args:
        digits: grey digits with classes 0 to 9.
        name: `COLOURED` for training, `HELD_OUT` for the other combinations.
    """
    assert isinstance(digits.values, Tensor) and digits.labels is not None, "digits in memory"
    colours = torch.arange(len(COLOURS))
    image, ink, ground = torch.cartesian_prod(torch.arange(len(digits)), colours, colours).unbind(1)
    wanted = held_out(digits.labels[image], ink, ground) == (name == HELD_OUT)
    order = torch.randperm(int(wanted.sum()), generator=torch.Generator().manual_seed(0))
    image, ink, ground = (numbers[wanted][order] for numbers in (image, ink, ground))
    labels = digits.labels[image]
    captions = captions_of(labels, ink, ground)
    return Dataset(colour(digits.values[image], ink, ground), labels, name, DIGITS, captions=captions)


def captions_of(digit: Tensor, ink: Tensor, ground: Tensor) -> Sequence[str]:
    """Captions of combinations, whose numbers have shape (n,)."""
    return tuple(caption(*numbers) for numbers in torch.stack([digit, ink, ground], dim=1).tolist())


def held_out_captions() -> tuple[str, ...]:
    """All captions that training does not use."""
    numbers = torch.cartesian_prod(torch.arange(len(DIGITS)), torch.arange(len(COLOURS)), torch.arange(len(COLOURS)))
    return tuple(captions_of(*numbers[held_out(*numbers.unbind(1))].unbind(1)))
