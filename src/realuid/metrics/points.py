"""A distance of points that sees shapes, where FD in their coordinates sees mean and covariance only."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from realuid.seeds import stream

#: Number of directions.
_DIRECTIONS = 256


def sliced_wasserstein(first: Tensor, second: Tensor, directions: int = _DIRECTIONS) -> float:
    """Sliced Wasserstein distance (Bonneel et al. 2015) of order 2 between two sets of points, in their units.

    The root of the mean over directions of the squared distance between the quantiles of both projections. 0 for equal
    distributions; for a shift by m in d dimensions |m| / sqrt(d).

    Args:
        first, second: points, shapes (n, d) and (m, d).
        directions: number of directions, always the same ones.
    """
    along = _directions(first.shape[1], directions)
    count = min(len(first), len(second))
    a, b = (_quantiles(points.double() @ along, count) for points in (first, second))
    return float((a - b).square().mean().sqrt())


def _directions(dimensions: int, count: int) -> Tensor:
    """Unit vectors, shape (dimensions, count): equally spaced in the plane, else random."""
    if dimensions == 2:
        angle = (torch.arange(count, dtype=torch.float64) + 0.5) / count * math.pi
        return torch.stack([angle.cos(), angle.sin()])
    along = torch.randn(dimensions, count, generator=stream(0, "directions"), dtype=torch.float64)
    return along / along.norm(dim=0)


def _quantiles(projected: Tensor, count: int) -> Tensor:
    """`count` quantiles of each column, at (i + 1/2) / count: shape (count, directions)."""
    at = ((torch.arange(count) + 0.5) / count * len(projected)).long()
    return projected.sort(dim=0).values[at]
