"""Images of several aspect ratios: sorted into sizes of about the same area, each a data set of its own."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from realuid.data.columns import Pictures
from realuid.data.dataset import Dataset
from realuid.errors import DataError

#: Largest ratio of the sides of a bucket; longer images are cropped.
_MOST = 2.0


def bucket_sizes(resolution: int, step: int) -> list[tuple[int, int]]:
    """Heights and widths of all buckets.

    Both are multiples of `step`, their ratio is at most 2 : 1, and the longer side is the largest with which the area
    is at most that of a square of side `resolution`.

    Raises:
        DataError: where the square itself is none of them.
    """
    if step < 1 or resolution < step or resolution % step:
        raise DataError(
            f"buckets of resolution {resolution} in steps of {step}: the resolution has to be a multiple of the step."
        )
    found = {(resolution, resolution)}
    for short in range(resolution - step, 0, -step):
        long = resolution**2 // short // step * step
        if long <= _MOST * short:
            found |= {(short, long), (long, short)}
    return sorted(found)


def bucket_step(resolution: int, factor: int = 1) -> int:
    """A step of about an eighth of a resolution and at most 64 pixels that divides it, where a codec allows it.

    Args:
        resolution: side of the square.
        factor: of the codec; the step is a multiple of it, unless the resolution is none.
    """
    step = math.gcd(64, resolution)
    while step > resolution / 8 and step % 2 == 0 and step // 2 % factor == 0:
        step //= 2
    return step


def in_buckets(data: Dataset, resolution: int, step: int) -> Dataset:
    """Images of the nearest aspect ratio, each: the most frequent size with the rest as `others`, by frequency.

    An image is resized until it covers its bucket, and what protrudes is cut off evenly.

    Args:
        data: encoded images, read by row (`load_dataset(..., by_row=True)`), of any sizes.
        resolution: side of the square whose area all buckets have at most.
        step: sides are multiples of it.

    Raises:
        DataError: for other data, pairs, and sizes that there are not.
    """
    if not isinstance(data.values, Pictures):
        raise DataError(f"'{data.name}' holds no image files of different sizes: leave --buckets out.")
    if data.sources is not None:
        raise DataError(f"'{data.name}' holds pairs, which have to be of one size: leave --buckets out.")
    sizes = bucket_sizes(resolution, step)
    nearest = _nearest(data.values.sizes(), sizes)
    counts = torch.bincount(nearest, minlength=len(sizes)).tolist()
    parts = [
        data._with(values=data.values.at(sizes[i])).subset(nearest == i)
        for i in sorted(range(len(sizes)), key=lambda i: (-counts[i], i))
        if counts[i]
    ]
    return parts[0]._with(others=tuple(parts[1:]))


def _nearest(of_images: Tensor, sizes: list[tuple[int, int]]) -> Tensor:
    """The bucket of the nearest ratio of height and width, for every image, shape (n,); unknown sizes are squares."""
    known = of_images.double().clamp(min=1)
    ratios = (known[:, 0] / known[:, 1]).log()
    buckets = torch.tensor([math.log(height / width) for height, width in sizes], dtype=torch.float64)
    return (ratios[:, None] - buckets).abs().argmin(dim=1)
