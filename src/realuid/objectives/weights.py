"""Weights w(t) of the losses, per sample."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from realuid.paths import Path, error_ratio

#: Upper bound of the signal-to-noise ratio in the weight (Hang et al. 2023).
SNR_LIMIT = 5.0


def _min_snr(path: Path, t: Tensor, space: str) -> Tensor:
    k = path.coefficients(t)
    snr = k.a**2 / path.noise_std(k).clamp(min=1e-6) ** 2
    return snr.clamp(max=SNR_LIMIT) * error_ratio(space, "data_prediction", path, k) ** 2


#: 'path': the matching model's own weight, by which its teacher was trained. 'one': none. 'min_snr': errors of the data
#: prediction count min(a^2 / b^2, 5) times, in whatever space: as those of the noise, except near the data.
TIME_WEIGHTS: dict[str, Callable[[Path, Tensor, str], Tensor]] = {
    "path": lambda path, t, space: path.weight(t, space),
    "one": lambda path, t, space: torch.ones_like(t),
    "min_snr": _min_snr,
}
