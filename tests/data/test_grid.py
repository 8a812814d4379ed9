from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from realuid.data import grid_image, save_grid


@pytest.mark.parametrize("channels", [1, 3])
def test_every_pixel_is_in_its_place(channels: int) -> None:
    x = torch.randint(0, 256, (5, channels, 4, 6), dtype=torch.uint8)
    grid = np.asarray(grid_image(x, columns=3, scale=2))
    grid = grid[..., None] if channels == 1 else grid
    assert grid.shape == (2 * (8 + 2) + 2, 3 * (12 + 2) + 2, channels)
    for i in range(5):
        row, column = divmod(i, 3)
        tile = grid[2 + row * 10 : 10 + row * 10 : 2, 2 + column * 14 : 14 + column * 14 : 2]
        assert np.array_equal(tile, x[i].permute(1, 2, 0).numpy())
    assert (grid[:2] == 255).all() and (grid[-10:, -14:] == 255).all()


def test_floats_are_rounded_like_images() -> None:
    x = torch.full((1, 1, 32, 32), 100.4 / 127.5 - 1)
    assert np.asarray(grid_image(x))[5, 5] == 100


def test_points_become_a_scatter_plot(tmp_path: Path) -> None:
    save_grid(torch.tensor([[0.0, 0.0], [1.25, 1.25]]), tmp_path / "a" / "p.png")
    with Image.open(tmp_path / "a" / "p.png") as image:
        pixels = np.asarray(image)
    assert sorted(zip(*np.nonzero(pixels == 0), strict=True)) == [(64, 192), (128, 128)]
