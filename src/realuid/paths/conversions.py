r"""Conversions between predictions.

A conversion expresses y' as a combination of the known quantities: the prediction y = p x_0 + q x_T + r eps, the point
x_t = a x_0 + b x_T + c eps, and x_T if it is an input of the network.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from realuid.errors import PredictionError
from realuid.paths.base import Coefficients, Path
from realuid.paths.predictions import PREDICTIONS, STACKED

#: Lower bound of divisors: below it x_t holds no information about one of its terms.
_TINY = 1e-6


def convert(
    value: Tensor, source: str, to: str, path: Path, k: Coefficients, x_t: Tensor, x_T: Tensor | None = None
) -> Tensor:
    """Convert a prediction to another one at the same point.

    Exact for conditional expectations: from E[y | x_t] to E[y' | x_t], also given x_T if it is known. Four cases:

    - no third coefficient: x_t and a prediction determine x_0 and x_T;
    - a third one and known x_T (conditional bridges): they determine x_0 and eps;
    - a third one and an independent x_T ~ N(0, I): b x_T + c eps is one Gaussian, of which a known part is x_T's;
    - a third one and an unknown, coupled x_T: three unknowns. `velocity_and_noise` determines them; otherwise only what
      does not involve all three: data and drift, noise and score.

    Args:
        value: the prediction, shape (b, *d).
        source: its name.
        to: name of the wanted prediction.
        path: the path that k comes from.
        k: coefficients expanded to x_t.
        x_t: the point it was predicted at, shape (b, *d).
        x_T: the source, where the network was given it.

    Raises:
        PredictionError: if the wanted expectation does not follow.
    """
    if source == to:
        return value
    if to in STACKED:
        return torch.cat([convert(value, source, part, path, k, x_t, x_T) for part in STACKED[to]], dim=1)
    if source in STACKED:
        return _from_velocity_and_noise(value, to, path, k, x_t)
    if {source, to} == {"noise_prediction", "score"}:
        scale = -(k.c if path.has_eps else k.b).clamp(min=_TINY)
        return value / scale if to == "score" else value * scale
    known = PREDICTIONS[source](path, k)
    wanted = PREDICTIONS[to](path, k)
    if path.coupled and x_T is not None:
        on_point, on_value = _combine((k.a, k.c), known[::2], wanted[::2])
        return on_point * (x_t - k.b * x_T) + on_value * (value - known[1] * x_T) + wanted[1] * x_T
    if not path.has_eps or (path.markov and {source, to} == {"data_prediction", "drift"}):
        on_point, on_value = _combine((k.a, k.b), known[:2], wanted[:2])
        return on_point * x_t + on_value * value
    if not path.coupled:
        noise = path.noise_std(k).clamp(min=_TINY)
        (p, q, r), (g, h, i) = known, wanted
        on_point, on_value = _combine((k.a, noise), (p, (q * k.b + r * k.c) / noise), (g, (h * k.b + i * k.c) / noise))
        return on_point * x_t + on_value * value
    raise PredictionError(
        f"cannot turn {source} into {to} on path '{path.name}': x_t mixes three unknowns (x_0, x_T, eps) and one "
        "network determines one expectation. Give the network x_T (a conditional model), or train it to predict "
        f"{to} or velocity_and_noise."
    )


def error_ratio(source: str, to: str, path: Path, k: Coefficients) -> Tensor:
    """Factor between errors of two predictions: d y' / d y at a fixed point, shape (b,).

    Args:
        source, to: names in `PREDICTIONS`, not stacked ones.
        path: the path that k comes from; on coupled paths x_T is known.
        k: coefficients, shape (b,).
    """
    zero, x_T = torch.zeros_like(k.t), torch.zeros_like(k.t) if path.coupled else None
    return convert(torch.ones_like(k.t), source, to, path, k, zero, x_T)


def _from_velocity_and_noise(value: Tensor, to: str, path: Path, k: Coefficients, x_t: Tensor) -> Tensor:
    """With eps predicted, x_t and the velocity determine x_0 and x_T."""
    velocity, eps = value.chunk(2, dim=1)
    if to in STACKED["velocity_and_noise"]:
        return velocity if to == "velocity" else eps
    p, q, r = PREDICTIONS[to](path, k)
    on_point, on_velocity = _combine((k.a, k.b), (k.a_dot, k.b_dot), (p, q))
    return on_point * (x_t - k.c * eps) + on_velocity * (velocity - k.c_dot * eps) + r * eps


def _combine(point: tuple, known: tuple, wanted: tuple) -> tuple[Tensor, Tensor]:
    """Weights (u, v) with wanted = u point + v known, a 2x2 system solved by Cramer's rule.

    Solved for both unknowns at once, so a velocity stays finite at t = 0 and t = 1 where one endpoint drops out.
    """
    (a, b), (p, q), (g, h) = point, known, wanted
    det = a * q - b * p
    det = torch.where(det < 0, det.clamp(max=-_TINY), det.clamp(min=_TINY))
    return (g * q - h * p) / det, (a * h - b * g) / det


@dataclass(frozen=True)
class Estimate:
    """Result of one network call: its prediction, and `estimate[name]` for every prediction that follows from it.

    Attributes:
        value: the prediction, shape (b, *d).
        prediction: its name.
        path: the path that k comes from.
        k: coefficients expanded to x_t.
        x_t: the point, shape (b, *d).
        x_T: the source, where the network was given it.
    """

    value: Tensor
    prediction: str
    path: Path
    k: Coefficients
    x_t: Tensor
    x_T: Tensor | None = None

    def __getitem__(self, prediction: str) -> Tensor:
        return convert(self.value, self.prediction, prediction, self.path, self.k, self.x_t, self.x_T)
