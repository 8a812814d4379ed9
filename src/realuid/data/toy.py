"""Two-dimensional toy distributions, scaled to roughly unit variance."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from realuid.data.dataset import Dataset
from realuid.errors import DataError, unknown_name


def gaussians(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Eight narrow Gaussians on a circle; the label is the component."""
    labels = torch.randint(8, (count,), generator=generator)
    angle = labels * (math.pi / 4)
    centres = 1.3 * torch.stack([angle.cos(), angle.sin()], dim=1)
    return centres + 0.1 * torch.randn(count, 2, generator=generator), labels


def moons(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Two interleaving half circles."""
    from sklearn.datasets import make_moons  # slow to import

    seed = int(torch.randint(2**31, (1,), generator=generator))
    points, labels = make_moons(count, noise=0.05, random_state=seed)
    return (torch.from_numpy(points).float() - torch.tensor([0.5, 0.25])) * torch.tensor([1.15, 2.0]), torch.from_numpy(
        labels
    )


def checkerboard(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The dark squares of a 4 x 4 board on [-2, 2]^2; the label is the column."""
    column = torch.randint(4, (count,), generator=generator)
    row = 2 * torch.randint(2, (count,), generator=generator) + column % 2
    inside = torch.rand(count, 2, generator=generator)
    return torch.stack([column, row], dim=1) + inside - 2, column


def spiral(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Two arms of a spiral."""
    labels = torch.randint(2, (count,), generator=generator)
    angle = 3 * math.pi * torch.rand(count, generator=generator).sqrt()
    arm = angle[:, None] / 5 * torch.stack([angle.cos(), angle.sin()], dim=1)
    return arm * (1 - 2 * labels[:, None]) + 0.05 * torch.randn(count, 2, generator=generator), labels


TOYS = {"gaussians": gaussians, "moons": moons, "checkerboard": checkerboard, "spiral": spiral}


def load_toy(name: str, count: int = 20_000, seed: int = 0) -> Dataset:
    """A toy data set by name, float32, shape (count, 2)."""
    if name not in TOYS:
        raise DataError(unknown_name("toy distribution", name, TOYS))
    points, labels = TOYS[name](count, torch.Generator().manual_seed(seed))
    classes = tuple(str(i) for i in range(int(labels.max()) + 1))
    return Dataset(points, labels.long(), f"toy:{name}", classes)
