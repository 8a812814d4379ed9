"""Conversion between uint8 levels and floats in [-1, 1], and horizontal flips."""

from __future__ import annotations

import torch
from torch import Tensor

from realuid.errors import NonFiniteError


def to_float(values: Tensor) -> Tensor:
    """uint8 0..255 to float32 in [-1, 1]; float data unchanged."""
    return values.float() / 127.5 - 1 if values.dtype == torch.uint8 else values


def to_uint8(x: Tensor) -> Tensor:
    """Float images in [-1, 1] to uint8, rounded to the nearest level and clamped: the inverse of `to_float`.

    Raises:
        NonFiniteError: for infinite numbers and NaN, which would become levels like others.
    """
    return quantise(require_finite(x))


def quantise(x: Tensor) -> Tensor:
    """`to_uint8` of what is known to be finite; a pure tensor operation, which exported programs may hold."""
    return ((x.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def require_finite(x: Tensor) -> Tensor:
    """The samples themselves, shape (b, *d), or a NonFiniteError that says how many of them are not finite."""
    broken = int((~torch.isfinite(x)).flatten(1).any(dim=1).sum())
    if broken:
        raise NonFiniteError(
            f"{broken} of {len(x)} samples hold NaN or infinite numbers: the weights have gone out of bounds. Take an "
            "earlier checkpoint, or train in precision fp32."
        )
    return x


def random_flip(x: Tensor, uniform: Tensor) -> Tensor:
    """Mirror the images whose random number is below one half.

    Args:
        x: shape (b, c, h, w).
        uniform: in [0, 1), shape (b,).
    """
    return torch.where((uniform < 0.5).view(-1, 1, 1, 1), x.flip(-1), x)
