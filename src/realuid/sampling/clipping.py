"""Clipping of data predictions while a teacher is sampled, as schedulers of diffusers do it."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from realuid.models import Clipping
from realuid.paths import Estimate

#: For a model whose scheduler does not say how: images end at -1 and 1.
USUAL = Clipping()


def limited(x_0: Tensor, clipping: Clipping) -> Tensor:
    """A data prediction within the limits.

    Static: clamped to [-limit, limit]. Dynamic (Saharia et al. 2022): with s the quantile of abs(x_0) over a sample, at
    least 1 and at most `limit`, clamped to [-s, s] and divided by s.

    Args:
        x_0: shape (b, *d).
        clipping: how.
    """
    if clipping.quantile is None:
        return x_0.clamp(-clipping.limit, clipping.limit)
    s = torch.quantile(x_0.flatten(1).abs().float(), clipping.quantile, dim=1).clamp(1, max(1, clipping.limit))
    s = s.to(x_0.dtype).reshape(-1, *(1,) * (x_0.dim() - 1))
    return torch.maximum(torch.minimum(x_0, s), -s) / s


def clipped(here: Estimate, clipping: Clipping) -> Estimate:
    """An estimate whose data prediction is within the limits; all other predictions follow from it.

    Raises:
        PredictionError: where they do not follow from it.
    """
    return dataclasses.replace(here, value=limited(here["data_prediction"], clipping), prediction="data_prediction")
