"""Image grids and scatter plots of samples."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from realuid.data.pixels import to_uint8
from realuid.files import atomic_file

_POINTS_SIDE, _GUTTER = 256, 2


def grid_image(x: Tensor, columns: int | None = None, scale: int | None = None) -> Image.Image:
    """Arrange images in rows; toy points become one scatter plot.

    Args:
        x: float images in [-1, 1] or uint8, shape (n, c, h, w), or points, shape (n, 2).
        columns: images a row; by default a square.
        scale: whole-number magnification; by default small images reach 64 pixels.
    """
    if x.dim() == 2:
        return _scatter(x)
    x = (x if x.dtype == torch.uint8 else to_uint8(x)).cpu()
    count, channels, height, width = x.shape
    columns = columns or math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    scale = scale or max(1, math.ceil(64 / max(height, width)))
    x = x.repeat_interleave(scale, dim=2).repeat_interleave(scale, dim=3)
    height, width = height * scale + _GUTTER, width * scale + _GUTTER
    canvas = torch.full((channels, rows * height + _GUTTER, columns * width + _GUTTER), 255, dtype=torch.uint8)
    for i, image in enumerate(x):
        top, left = i // columns * height + _GUTTER, i % columns * width + _GUTTER
        canvas[:, top : top + image.shape[1], left : left + image.shape[2]] = image
    pixels = canvas.permute(1, 2, 0).numpy()
    return Image.fromarray(pixels[..., 0] if channels == 1 else pixels)


def _scatter(points: Tensor) -> Image.Image:
    image = Image.new("L", (_POINTS_SIDE, _POINTS_SIDE), 255)
    draw = ImageDraw.Draw(image)
    for x, y in ((points.cpu() / 2.5 + 1) * _POINTS_SIDE / 2).tolist():
        draw.point((x, _POINTS_SIDE - y), 0)
    return image


def save_image(image: Image.Image, path: str | Path) -> None:
    """Write a picture as PNG, atomically."""
    with atomic_file(Path(path)) as temporary:
        image.save(temporary, format="PNG")


def save_grid(x: Tensor, path: str | Path, columns: int | None = None) -> None:
    """Write `grid_image(x)` as PNG, atomically."""
    save_image(grid_image(x, columns), path)
