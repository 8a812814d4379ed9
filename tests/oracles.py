"""Textbook answers in scalars and small matrices (numpy and scipy, float64). Never imports the library.

A *world* is a joint Gaussian of (x_0, x_T, eps): then every expectation that a perfect network would learn is a linear
regression, and every density is known.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from scipy import integrate, interpolate

Triple = tuple[float, float, float]


def slope(f: Callable, t: float, pinned: bool):
    """df/dt by central differences of fourth order; within [0, 1] for what is pinned there."""
    h = min(1e-4, t / 20, (1 - t) / 20) if pinned else 1e-4
    return (f(t - 2 * h) - 8 * f(t - h) + 8 * f(t + h) - f(t + 2 * h)) / (12 * h)


# --- families: x_t = a x_0 + b x_T + c eps as their papers print it ---


@dataclass(frozen=True)
class Family:
    """One matching model.

    Attributes:
        path, settings: its name and settings in the library.
        abc: t -> (a, b, c).
        times: where to look at it, away from its ends.
        coupled: whether x_T comes in pairs with x_0 (otherwise x_T ~ N(0, 1), independent).
        noisy: whether c > 0.
        markov: whether it is a bridge of a Markov process.
    """

    path: str
    abc: Callable[[float], Triple]
    settings: dict = field(default_factory=dict)
    times: tuple[float, ...] = (0.1004, 0.3504, 0.7004, 0.9004)
    coupled: bool = False
    noisy: bool = False
    markov: bool = False

    def dots(self, t: float) -> Triple:
        """Time derivatives of (a, b, c)."""
        return tuple(slope(lambda u: np.array(self.abc(u)), t, self.noisy))


def _vp(t: float, beta_min: float, beta_max: float) -> Triple:
    log_mean = -(t**2) * (beta_max - beta_min) / 4 - t * beta_min / 2  # Song et al. 2021, eq. 33
    return math.exp(log_mean), math.sqrt(1 - math.exp(2 * log_mean)), 0.0


def _cosine(t: float) -> Triple:
    bar = [math.cos((u + 0.008) / 1.008 * math.pi / 2) ** 2 for u in (t, 0)]  # Nichol & Dhariwal 2021, eq. 17
    return math.sqrt(bar[0] / bar[1]), math.sqrt(1 - bar[0] / bar[1]), 0.0


def ddpm_table(kind: str, n: int = 1000, start: float = 1e-4, end: float = 0.02) -> np.ndarray:
    """alphas_cumprod of Ho et al. 2020 (linear), Rombach et al. 2022 (scaled_linear), Nichol & Dhariwal 2021."""
    if kind == "linear":
        betas = [start + (end - start) * i / (n - 1) for i in range(n)]
    elif kind == "scaled_linear":
        betas = [(start**0.5 + (end**0.5 - start**0.5) * i / (n - 1)) ** 2 for i in range(n)]
    else:
        bar = [math.cos((i / n + 0.008) / 1.008 * math.pi / 2) ** 2 for i in range(n + 1)]
        betas = [min(1 - bar[i + 1] / bar[i], 0.999) for i in range(n)]
    return np.cumprod(1 - np.array(betas))


def _ddpm(kind: str) -> Callable[[float], Triple]:
    table = ddpm_table(kind)
    log_snr = interpolate.PchipInterpolator(np.arange(1, 1001) / 1000, np.log(table / (1 - table)))

    def abc(t: float) -> Triple:
        snr = math.exp(log_snr(t))
        return math.sqrt(snr / (1 + snr)), math.sqrt(1 / (1 + snr)), 0.0

    return abc


@functools.cache
def _i2sb_variance(start: float, end: float, beta_min: float = 0.1, beta_max: float = 0.3) -> float:
    """Integral of I2SB's symmetric beta."""

    def beta(u: float) -> float:
        return (beta_min**0.5 + (beta_max**0.5 - beta_min**0.5) * 2 * min(u, 1 - u)) ** 2

    return integrate.quad(beta, start, end, points=[0.5], epsabs=1e-14)[0]


def _i2sb(t: float) -> Triple:
    before, after = _i2sb_variance(0, t), _i2sb_variance(t, 1)  # sigma^2 and sigma-bar^2 of Liu et al. 2023
    total = before + after
    return after / total, before / total, math.sqrt(before * after / total)


def _ddbm(t: float, alpha: Callable[[float], float], sigma: Callable[[float], float]) -> Triple:
    snr = [(alpha(u) / sigma(u)) ** 2 for u in (t, 1)]
    ratio = snr[1] / snr[0]
    return alpha(t) * (1 - ratio), ratio * alpha(t) / alpha(1), sigma(t) * math.sqrt(1 - ratio)


def _vp_bridge(t: float) -> Triple:
    return _ddbm(t, lambda u: _vp(u, 0.1, 2.1)[0], lambda u: _vp(u, 0.1, 2.1)[1])


def _brownian(t: float, s: float) -> Triple:
    return 1 - t, t, s * math.sqrt(t * (1 - t))


def _interpolant(t: float, mean: str, gamma: str, s: float) -> Triple:
    a, b = (1 - t, t) if mean == "linear" else (math.cos(math.pi * t / 2), math.sin(math.pi * t / 2))
    return a, b, s * (math.sqrt(2 * t * (1 - t)) if gamma == "sqrt" else math.sin(math.pi * t) ** 2)


def _interpolant_family(mean: str, gamma: str, coupled: bool) -> Family:
    return Family(
        "interpolant",
        lambda t: _interpolant(t, mean, gamma, 0.6),
        {"mean": mean, "gamma": gamma, "noise": 0.6, "coupled": coupled},
        coupled=coupled,
        noisy=True,
    )


def _bridge_family(path: str, abc: Callable[[float], Triple], **settings: float) -> Family:
    return Family(path, abc, settings, coupled=True, noisy=True, markov=True)


FAMILIES: dict[str, Family] = {
    "linear": Family("linear", lambda t: (1 - t, t, 0.0)),
    "trigonometric": Family("trigonometric", lambda t: (math.cos(math.pi * t / 2), math.sin(math.pi * t / 2), 0.0)),
    "vp": Family("vp", lambda t: _vp(t, 0.1, 20.0)),
    "vp, other betas": Family("vp", lambda t: _vp(t, 0.5, 3.5), {"beta_min": 0.5, "beta_d": 3.0}),
    "cosine": Family("cosine", _cosine),
    "ddpm linear": Family("ddpm", _ddpm("linear")),
    "ddpm scaled": Family("ddpm", _ddpm("scaled_linear"), {"beta_schedule": "scaled_linear"}),
    "ddpm cosine": Family("ddpm", _ddpm("squaredcos_cap_v2"), {"beta_schedule": "squaredcos_cap_v2"}),
    "ve": Family("ve", lambda t: (1.0, t, 0.0)),
    "brownian": _bridge_family("brownian_bridge", lambda t: _brownian(t, 0.7), noise=0.7),
    "i2sb": _bridge_family("i2sb", _i2sb),
    "vp bridge": _bridge_family("vp_bridge", _vp_bridge),
    "ve bridge": _bridge_family("ve_bridge", lambda t: _ddbm(t, lambda u: 1.0, lambda u: 2 * u), sigma_max=2.0),
    **{
        f"interpolant {mean} {gamma} {'coupled' if coupled else 'free'}": _interpolant_family(mean, gamma, coupled)
        for mean in ("linear", "trigonometric")
        for gamma in ("sqrt", "sin2")
        for coupled in (False, True)
    },
}


def targets(family: Family, t: float) -> dict[str, Triple]:
    """What each prediction is trained on, as (p, q, r) of y = p x_0 + q x_T + r eps."""
    (a, b, c), (a_dot, b_dot, c_dot) = family.abc(t), family.dots(t)
    known = {"data_prediction": (1.0, 0.0, 0.0), "velocity": (a_dot, b_dot, c_dot)}
    if family.noisy:
        # what blurs x_t given x_0 (and the x_T it comes in a pair with)
        known["noise_prediction"] = (0.0, 0.0, 1.0)
        known["score"] = (0.0, 0.0, -1 / c) if family.coupled else (0.0, -b / (b**2 + c**2), -c / (b**2 + c**2))
    else:
        known |= {"noise_prediction": (0.0, 1.0, 0.0), "v_prediction": (-b, a, 0.0), "score": (0.0, -1 / b, 0.0)}
    if family.markov:
        # drift of the reversed process: its own drift minus g^2 times the score of x_t given x_0 (Anderson 1982)
        alpha, var = free_scale(family), free_variance(family)
        shrink = slope(lambda u: math.log(alpha(u)), t, True)
        g2 = slope(var, t, True) - 2 * shrink * var(t)
        # shrink x_t + g^2 (x_t - alpha x_0) / var, with x_t = a x_0 + b x_T + c eps
        on_point, on_data = shrink + g2 / var(t), -g2 * alpha(t) / var(t)
        known["drift"] = (on_point * a + on_data, on_point * b, on_point * c)
    return known


def free_scale(family: Family) -> Callable[[float], float]:
    """alpha_t of the process that a bridge pins: E[x_t | x_0] = alpha_t x_0 where it is left free."""
    return (lambda t: _vp(t, 0.1, 2.1)[0]) if family.path == "vp_bridge" else (lambda t: 1.0)


def free_variance(family: Family) -> Callable[[float], float]:
    """Var[x_t | x_0] of the process that a bridge pins, where it is left free."""
    return {
        "brownian_bridge": lambda t: 0.7**2 * t,
        "ve_bridge": lambda t: (2 * t) ** 2,
        "vp_bridge": lambda t: _vp(t, 0.1, 2.1)[1] ** 2,
        "i2sb": lambda t: _i2sb_variance(0, t),
    }[family.path]


# --- worlds ---


@dataclass(frozen=True)
class World:
    """A joint Gaussian of u = (x_0, x_T, eps), each of d numbers: mean, shape (3 d,), and covariance, (3 d, 3 d)."""

    mean: np.ndarray
    cov: np.ndarray

    @property
    def d(self) -> int:
        return len(self.mean) // 3

    def rows(self, triple: Triple) -> np.ndarray:
        """The matrix of p x_0 + q x_T + r eps, shape (d, 3 d)."""
        return np.kron(np.array([triple]), np.eye(self.d))

    def moments(self, triple: Triple) -> tuple[np.ndarray, np.ndarray]:
        """Mean (d,) and covariance (d, d) of p x_0 + q x_T + r eps."""
        rows = self.rows(triple)
        return rows @ self.mean, rows @ self.cov @ rows.T

    def regress(self, wanted: Triple, *seen: Triple) -> tuple[np.ndarray, np.ndarray]:
        """(gain, offset) with E[wanted | seen] = gain @ concatenate(seen) + offset."""
        w, s = self.rows(wanted), np.concatenate([self.rows(triple) for triple in seen])
        gain = w @ self.cov @ s.T @ np.linalg.inv(s @ self.cov @ s.T)
        return gain, w @ self.mean - gain @ s @ self.mean

    def given(self, wanted: Triple, *seen: Triple) -> np.ndarray:
        """Cov[wanted | seen], shape (d, d)."""
        gain, _ = self.regress(wanted, *seen)
        residual = self.rows(wanted) - gain @ np.concatenate([self.rows(triple) for triple in seen])
        return residual @ self.cov @ residual.T


SOURCE: Triple = (0.0, 1.0, 0.0)


def world(coupled: bool, d: int = 1, shift: float = 0.0, stretch: float = 1.0) -> World:
    """A Gaussian world; `shift` moves the data and `stretch` scales its spread, as an imperfect generator would."""
    mix = np.array([[0.8, 0.0], [-0.3, 0.5]])[:d, :d] * stretch  # x_0 = m + mix z (+ link x_T)
    link = np.array([[0.6, 0.2], [0.1, -0.4]])[:d, :d] * (1 if coupled else 0)
    source_mean = np.array([-0.2, 0.3])[:d] * (1 if coupled else 0)
    source = np.array([[1.1, 0.2], [0.2, 0.7]])[:d, :d] if coupled else np.eye(d)
    mean = np.concatenate([np.array([0.4, -0.7])[:d] + shift + link @ source_mean, source_mean, np.zeros(d)])
    zero = np.zeros((d, d))
    cov = np.block(
        [
            [mix @ mix.T + link @ source @ link.T, link @ source, zero],
            [source @ link.T, source, zero],
            [zero, zero, np.eye(d)],
        ]
    )
    return World(mean, cov)
