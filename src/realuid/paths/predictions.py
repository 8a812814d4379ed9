r"""What networks predict, and how one prediction becomes another.

Every prediction is linear in the three ingredients of the path, y = p x_0 + q x_T + r eps, so one table of (p, q, r)
holds all of them, and a conversion is the search for y' as a combination of what is known: the prediction itself, the
point x_t = a x_0 + b x_T + c eps, and x_T where the network was given it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from realuid.errors import PredictionError, unknown_name
from realuid.paths.base import Coefficients, Path

#: Determinants smaller than this are clamped: only there does a path know nothing about one of its endpoints.
_TINY = 1e-6

_Triple = tuple[Tensor, Tensor, Tensor]


def _velocity(k: Coefficients, has_eps: bool) -> _Triple:
    return k.a_dot, k.b_dot, k.c_dot


def _data(k: Coefficients, has_eps: bool) -> _Triple:
    zero = torch.zeros_like(k.t)
    return torch.ones_like(k.t), zero, zero


def _noise(k: Coefficients, has_eps: bool) -> _Triple:
    zero, one = torch.zeros_like(k.t), torch.ones_like(k.t)
    return (zero, zero, one) if has_eps else (zero, one, zero)


def _v(k: Coefficients, has_eps: bool) -> _Triple:
    return -k.b, k.a, torch.zeros_like(k.t)


def _score(k: Coefficients, has_eps: bool) -> _Triple:
    zero = torch.zeros_like(k.t)
    if has_eps:
        return zero, zero, -1 / k.c.clamp(min=_TINY)
    return zero, -1 / k.b.clamp(min=_TINY), zero


def _drift(k: Coefficients, has_eps: bool) -> _Triple:
    t = k.t.clamp(min=_TINY)
    return (k.a - 1) / t, k.b / t, k.c / t


#: prediction -> (p, q, r). `noise` and `score` are those of the Gaussian that blurs x_t: x_T where the source is the
#: noise, eps where the path has a third coefficient (there `noise` is the interpolants' denoiser E[eps | x_t]).
#: `v_prediction` is VP's; `drift` = (x_t - x_0) / t is the bridges'.
PREDICTIONS = {
    "velocity": _velocity,
    "data_prediction": _data,
    "noise_prediction": _noise,
    "v_prediction": _v,
    "score": _score,
    "drift": _drift,
}


def check_prediction(prediction: str, path: Path) -> str:
    """`prediction` itself, or an error that says why it does not exist on this path."""
    if prediction not in PREDICTIONS:
        raise PredictionError(unknown_name("prediction", prediction, PREDICTIONS))
    if prediction == "v_prediction" and path.has_eps:
        raise PredictionError(
            f"v_prediction (a x_T - b x_0) is defined for paths of data and noise only; path '{path.name}' has a third "
            "coefficient. Use velocity or data_prediction."
        )
    if prediction == "drift" and not path.has_eps:
        raise PredictionError(
            f"drift ((x_t - x_0) / t) belongs to bridges; path '{path.name}' has none. Use velocity or data_prediction."
        )
    return prediction


def target(prediction: str, path: Path, k: Coefficients, x_0: Tensor, x_T: Tensor, eps: Tensor | None) -> Tensor:
    """The regression target y = p x_0 + q x_T + r eps.

    Args:
        prediction: a name in `PREDICTIONS`.
        path: the path that k comes from.
        k: coefficients expanded to x_0.
        x_0, x_T: endpoints, shape (b, *d).
        eps: the path's third Gaussian, shape (b, *d), or None where it has none.
    """
    p, q, r = PREDICTIONS[prediction](k, path.has_eps)
    y = p * x_0 + q * x_T
    return y if eps is None or not path.has_eps else y + r * eps


def convert(
    value: Tensor, source: str, to: str, path: Path, k: Coefficients, x_t: Tensor, x_T: Tensor | None = None
) -> Tensor:
    """Turn one prediction into another at the same point.

    Args:
        value: the prediction at hand, shape (b, *d).
        source: what it predicts.
        to: what is wanted.
        path: the path that k comes from.
        k: coefficients expanded to x_t.
        x_t: the point it was predicted at, shape (b, *d).
        x_T: the source, where the network was given it (conditional bridges); it makes every conversion possible.

    Raises:
        PredictionError: where a single network does not determine the wanted expectation: a path with a third
            coefficient whose network does not see x_T.
    """
    if source == to:
        return value
    known = PREDICTIONS[source](k, path.has_eps)
    wanted = PREDICTIONS[to](k, path.has_eps)
    if not path.has_eps:  # unknowns x_0 and x_T
        on_point, on_value = _combine((k.a, k.b), known[:2], wanted[:2])
        return on_point * x_t + on_value * value
    if x_T is not None:  # unknowns x_0 and eps
        on_point, on_value = _combine((k.a, k.c), known[::2], wanted[::2])
        return on_point * (x_t - k.b * x_T) + on_value * (value - known[1] * x_T) + wanted[1] * x_T
    if {source, to} == {"data_prediction", "drift"}:  # both lie in the span of x_0 and x_t, whatever x_T is
        t = k.t.clamp(min=_TINY)
        return (x_t - value) / t if to == "drift" else x_t - t * value
    if {source, to} == {"noise_prediction", "score"}:
        c = k.c.clamp(min=_TINY)
        return -value / c if to == "score" else -value * c
    raise PredictionError(
        f"cannot turn {source} into {to} on path '{path.name}': x_t mixes three unknowns (x_0, x_T, eps) and one "
        "network determines one expectation. Give the network x_T (a conditional model), or train it to predict "
        f"{to}."
    )


def _combine(point: tuple, known: tuple, wanted: tuple) -> tuple[Tensor, Tensor]:
    """Weights (u, v) with wanted = u point + v known, a 2x2 system solved by Cramer's rule.

    Solved for both unknowns at once, so a velocity stays finite at t = 0 and t = 1 where one endpoint drops out.
    """
    (a, b), (p, q), (g, h) = point, known, wanted
    det = a * q - b * p
    det = torch.where(det < 0, det.clamp(max=-_TINY), det.clamp(min=_TINY))
    return (g * q - h * p) / det, (a * h - b * g) / det
