"""Improved precision and recall (Kynkaanniemi et al. 2019)."""

from __future__ import annotations

import torch
from torch import Tensor


def _radii(points: Tensor, neighbours: int, chunk: int = 2000) -> Tensor:
    """Distance of every point to its k-th nearest other point, shape (n,)."""
    k = neighbours + 1  # the nearest is the point itself
    return torch.cat([torch.cdist(part, points).kthvalue(k, dim=1).values for part in points.split(chunk)])


def _covered(queries: Tensor, points: Tensor, radii: Tensor, chunk: int = 2000) -> float:
    """Share of the queries that lie within the radius of at least one point."""
    inside = [(torch.cdist(part, points) <= radii).any(dim=1) for part in queries.split(chunk)]
    return torch.cat(inside).float().mean().item()


def precision_recall(real: Tensor, generated: Tensor, neighbours: int = 3) -> tuple[float, float]:
    """Precision and recall in feature space.

    Args:
        real, generated: features, shapes (n, f) and (m, f).
        neighbours: k of the k-nearest-neighbour balls.

    Returns:
        precision (samples covered by real balls) and recall (real images covered by generated balls), in [0, 1].
    """
    precision = _covered(generated, real, _radii(real, neighbours))
    recall = _covered(real, generated, _radii(generated, neighbours))
    return precision, recall
