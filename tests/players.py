"""The game of RealUID at one time in closed form (numpy and scipy, float64). Never imports the library."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from oracles import SOURCE, Family, World, targets
from scipy import stats


@dataclass(frozen=True)
class Side:
    """What x_t, of d numbers, and the perfect network look like on one side, real or generated.

    Attributes:
        mean, cov: of x_t, shape (d,) and (d, d).
        gain, offset: f(x) = gain x + offset, shape (outputs, d) and (outputs,).
    """

    mean: np.ndarray
    cov: np.ndarray
    gain: np.ndarray
    offset: np.ndarray

    @staticmethod
    def of(
        family: Family, t: float, side: World, predictions: tuple[str, ...], x_T: tuple[float, ...] | None = None
    ) -> Side:
        """The side of a world, given x_T where it is passed."""
        abc, known = family.abc(t), targets(family, t)
        if x_T is None:
            mean, cov = side.moments(abc)
            pairs = [side.regress(known[p], abc) for p in predictions]
        else:
            gain, offset = side.regress(abc, SOURCE)
            mean, cov = gain @ x_T + offset, side.given(abc, SOURCE)
            pairs = [
                (g[:, : side.d], o + g[:, side.d :] @ x_T)
                for g, o in (side.regress(known[p], abc, SOURCE) for p in predictions)
            ]
        return Side(mean, cov, *(np.concatenate(column) for column in zip(*pairs, strict=True)))

    def density(self, x: np.ndarray) -> np.ndarray:
        """p(x) at points of shape (n, d), shape (n,)."""
        return np.exp(stats.multivariate_normal(self.mean, self.cov).logpdf(x)).reshape(-1)

    def f(self, x: np.ndarray) -> np.ndarray:
        """The perfect network, shape (n, outputs)."""
        return x @ self.gain.T + self.offset


@dataclass(frozen=True)
class Weights:
    """Coefficients: E_g[-gamma d^2 + 2 a d f~ - 2 b d y] + E_r[-(1 - gamma) d^2 + 2 a' d f~ - 2 b' d y].

    Attributes:
        on_generated, on_real: (a, b) and (a', b').
        gamma: of the squares.
    """

    on_generated: tuple[float, float]
    on_real: tuple[float, float]
    gamma: float


def general_weights(alpha: float, beta: float, gamma: float) -> Weights:
    """Def. 3."""
    return Weights((alpha, beta), (1 - alpha, 1 - beta), gamma)


def mixture_weights(data_weight: float, gamma: float) -> Weights:
    """Of mixture UID."""
    return Weights((1.0, 1.0), (-data_weight, -data_weight), gamma)


def pull(x: np.ndarray, real: Side, generated: Side, teacher: Side, weights: Weights) -> np.ndarray:
    """p^g (a f~ - b f^g) + p* (a' f~ - b' f*): what the game pulls along, shape (n, outputs)."""
    (a, b), (a_real, b_real) = weights.on_generated, weights.on_real
    p, q, f_teacher = real.density(x)[:, None], generated.density(x)[:, None], teacher.f(x)
    return q * (a * f_teacher - b * generated.f(x)) + p * (a_real * f_teacher - b_real * real.f(x))


def mixture(x: np.ndarray, real: Side, generated: Side, gamma: float) -> np.ndarray:
    """(1 - gamma) p* + gamma p^g, shape (n, 1)."""
    return (1 - gamma) * real.density(x)[:, None] + gamma * generated.density(x)[:, None]


def optimal_fake(
    x: np.ndarray, real: Side, generated: Side, teacher: Side, weights: Weights, scale: float = 1.0
) -> np.ndarray:
    """The f with scale (f~ - f) = pull / mixture, shape (n, outputs); RealUID's with f~ = f* is eq. 22."""
    both = mixture(x, real, generated, weights.gamma)
    return teacher.f(x) - pull(x, real, generated, teacher, weights) / both / scale


def grid(*sides: Side) -> tuple[np.ndarray, float]:
    """Points that cover all sides, shape (n, d), and the volume of each; sums are integrals, exact to rounding."""
    d = len(sides[0].mean)
    reach = 9 * np.sqrt(np.max([np.diag(side.cov) for side in sides], axis=0))
    low, high = np.min([s.mean for s in sides], axis=0) - reach, np.max([s.mean for s in sides], axis=0) + reach
    axes = [np.linspace(start, end, {1: 4001, 2: 121}[d]) for start, end in zip(low, high, strict=True)]
    points = np.stack([v.ravel() for v in np.meshgrid(*axes, indexing="ij")], axis=1)
    return points, math.prod(axis[1] - axis[0] for axis in axes)


def lemma_2(real: Side, generated: Side, teacher: Side, weights: Weights) -> float:
    """Lemma 2: int ||pull||^2 / ((1 - gamma) p* + gamma p^g) dx; there f~ = f* and gamma = alpha."""
    x, volume = grid(real, generated)
    values = pull(x, real, generated, teacher, weights) ** 2 / mixture(x, real, generated, weights.gamma)
    return float(values.sum() * volume)
