"""Weights w(t) of the losses, per sample."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from realuid.paths import Path

TimeWeight = Literal["path", "one", "min_snr"]

#: Signal-to-noise ratio above which a time counts no more (Hang et al. 2023).
SNR_LIMIT = 5.0


def _min_snr(path: Path, t: Tensor) -> Tensor:
    k = path.coefficients(t)
    return (k.a**2 / path.noise_std(k).clamp(min=1e-6) ** 2).clamp(max=SNR_LIMIT)


#: 'path': the matching model's own weight, by which its teacher was trained. 'one': none. 'min_snr': min(a^2 / b^2, 5),
#: for data predictions, which it weighs as noise predictions except near the data.
TIME_WEIGHTS: dict[str, Callable[[Path, Tensor], Tensor]] = {
    "path": lambda path, t: path.weight(t),
    "one": lambda path, t: torch.ones_like(t),
    "min_snr": _min_snr,
}
