"""Predictions of networks, y = p x_0 + q x_T + r eps: a table of (p, q, r)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from realuid.errors import PredictionError, unknown_name
from realuid.paths.base import Coefficients, Path

#: Divisors smaller than this are clamped: only at the very ends of a path.
_TINY = 1e-6

_Triple = tuple[Tensor, Tensor, Tensor]


def _velocity(path: Path, k: Coefficients) -> _Triple:
    return k.a_dot, k.b_dot, k.c_dot


def _data(path: Path, k: Coefficients) -> _Triple:
    zero = torch.zeros_like(k.t)
    return torch.ones_like(k.t), zero, zero


def _noise(path: Path, k: Coefficients) -> _Triple:
    zero, one = torch.zeros_like(k.t), torch.ones_like(k.t)
    return (zero, zero, one) if path.has_eps else (zero, one, zero)


def _v(path: Path, k: Coefficients) -> _Triple:
    return -k.b, k.a, torch.zeros_like(k.t)


def _score(path: Path, k: Coefficients) -> _Triple:
    zero, variance = torch.zeros_like(k.t), path.noise_std(k).clamp(min=_TINY) ** 2
    return zero, zero if path.coupled else -k.b / variance, -k.c / variance


def _drift(path: Path, k: Coefficients) -> _Triple:
    return k.a_dot, k.b_dot, k.c * k.b_dot / k.b.clamp(min=_TINY)


#: prediction -> (p, q, r).
#: `noise_prediction`: x_T where it is the only noise, eps where the path has a third coefficient (there it is the
#: interpolants' denoiser). `score`: grad log p_t of x_t, given x_T where coupled. `v_prediction`: VP's a x_T - b x_0.
#: `drift`: of a bridge's own process run towards data, (b'/b) (x_t - a x_0) + a' x_0; Brownian: (x_t - x_0) / t.
PREDICTIONS: dict[str, Callable[[Path, Coefficients], _Triple]] = {
    "velocity": _velocity,
    "data_prediction": _data,
    "noise_prediction": _noise,
    "v_prediction": _v,
    "score": _score,
    "drift": _drift,
}

#: Predictions made of several, stacked along the first axis of a sample: such a network has more than one head.
STACKED: dict[str, tuple[str, ...]] = {"velocity_and_noise": ("velocity", "noise_prediction")}


def heads(prediction: str) -> int:
    """Number of network outputs of the size of a sample."""
    return len(STACKED.get(prediction, (prediction,)))


def check_prediction(prediction: str, path: Path) -> str:
    """`prediction` itself, or an error with the reason why it does not exist on this path."""
    if prediction not in PREDICTIONS and prediction not in STACKED:
        raise PredictionError(unknown_name("prediction", prediction, [*PREDICTIONS, *STACKED]))
    if prediction == "v_prediction" and path.has_eps:
        raise PredictionError(
            f"v_prediction (a x_T - b x_0) is defined for paths of data and noise only; path '{path.name}' has a third "
            "coefficient. Use velocity or data_prediction."
        )
    if prediction == "drift" and not path.markov:
        raise PredictionError(
            f"drift ((b'/b) (x_t - a x_0) + a' x_0) belongs to bridges; path '{path.name}' is none. Use velocity or "
            "data_prediction."
        )
    if prediction == "velocity_and_noise" and not path.has_eps:
        raise PredictionError(
            f"velocity_and_noise is for paths with a third coefficient; on path '{path.name}' the noise follows from "
            "the velocity. Use velocity."
        )
    return prediction


def target(prediction: str, path: Path, k: Coefficients, x_0: Tensor, x_T: Tensor, eps: Tensor | None) -> Tensor:
    """The regression target y = p x_0 + q x_T + r eps.

    Args:
        prediction: a name in `PREDICTIONS` or `STACKED`.
        path: the path that k comes from.
        k: coefficients expanded to x_0.
        x_0, x_T: endpoints, shape (b, *d).
        eps: the path's third Gaussian, shape (b, *d), or None where it has none.
    """
    if prediction in STACKED:
        return torch.cat([target(part, path, k, x_0, x_T, eps) for part in STACKED[prediction]], dim=1)
    p, q, r = PREDICTIONS[prediction](path, k)
    y = p * x_0 + q * x_T
    return y if eps is None or not path.has_eps else y + r * eps
