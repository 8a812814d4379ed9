"""Unified matching, the loss that trains teachers (Def. 1)."""

from __future__ import annotations

from torch import Tensor

from realuid.objectives.reduce import squared_norm


def matching_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """UM per sample: ||f(x_t) - y||^2, shapes (b, *d) -> (b,). Weights w(t) and the mean are the caller's."""
    return squared_norm(prediction - target)
