r"""Closed forms of RealUID for Gaussian mixtures in one dimension (App. A.1.3 and A.1.4).

Everything follows from

    N = p^g (alpha f~ - beta f^g) + p* ((1 - alpha) f~ - (1 - beta) f*),

with f~ the teacher, exact (f~ = f*) or wrong. The loss at (x, t) is N^2 / ((1 - alpha) p* + alpha p^g) (Lemma 2). The
mixture objective has N = p^g (f~ - f^g) - lambda p* (f~ - f*) instead, and gamma instead of alpha in the denominator.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

#: A velocity field: (x, t) -> dx_t/dt, t a number.
Field = Callable[[Tensor, float], Tensor]


@dataclass(frozen=True)
class Mixture:
    """Data distributed as a mixture of Gaussians in one dimension, on the path x_t = (1 - t) x_0 + t x_T.

    Args:
        means, stds: of the components.
        weights: of the components; they sum to 1.
    """

    means: tuple[float, ...]
    stds: tuple[float, ...]
    weights: tuple[float, ...] = (1.0,)

    def mixed(self, other: Mixture, share: float) -> Mixture:
        """(1 - share) self + share other."""
        weights = [(1 - share) * w for w in self.weights] + [share * w for w in other.weights]
        return Mixture(self.means + other.means, self.stds + other.stds, tuple(weights))

    def _components(self, x: Tensor, t: float) -> tuple[Tensor, Tensor]:
        """w_i N(x; (1 - t) m_i, v_i) and the velocity of each component at x, shapes (i, n)."""
        m, s, w = (torch.tensor(v, dtype=x.dtype)[:, None] for v in (self.means, self.stds, self.weights))
        variance = (1 - t) ** 2 * s**2 + t**2
        away = x - (1 - t) * m
        density = w * torch.exp(-(away**2) / (2 * variance)) / (2 * math.pi * variance).sqrt()
        return density, -m + (t - (1 - t) * s**2) / variance * away

    def density(self, x: Tensor, t: float) -> Tensor:
        """p_t(x), shape (n,)."""
        return self._components(x, t)[0].sum(0)

    def velocity(self, x: Tensor, t: float) -> Tensor:
        """E[x_T - x_0 | x_t = x], shape (n,): the exact velocity."""
        density, velocity = self._components(x, t)
        tiny = torch.finfo(x.dtype).tiny
        return (density * velocity).sum(0) / density.sum(0).clamp(min=tiny)


def loss_at(
    real: Mixture,
    generated: Mixture,
    alpha: float,
    beta: float,
    x: Tensor,
    t: float,
    teacher: Field | None = None,
) -> Tensor:
    """The integrand of Lemma 2, at the best fake model, shape (n,).

    Args:
        real, generated: the two distributions of data.
        alpha, beta: RealUID's coefficients.
        x, t: points, shape (n,), and one time in (0, 1].
        teacher: f~; by default the perfect one.
    """
    p, q, f = real.density(x, t), generated.density(x, t), real.velocity(x, t)
    f_teacher = f if teacher is None else teacher(x, t)
    pull = q * (alpha * f_teacher - beta * generated.velocity(x, t)) + p * ((1 - alpha) * f_teacher - (1 - beta) * f)
    return pull**2 / ((1 - alpha) * p + alpha * q).clamp(min=torch.finfo(x.dtype).tiny)


def mixture_loss_at(
    real: Mixture, generated: Mixture, teacher: Mixture, data_weight: float, x: Tensor, t: float, gamma: float = 0.5
) -> Tensor:
    """The loss of the mixture objective at the best fake model, shape (n,).

    Args:
        real, generated: the two distributions of data.
        teacher: what the teacher learnt perfectly: p~, with its velocity f~.
        data_weight: lambda, in [0, 1].
        x, t: points, shape (n,), and one time in (0, 1].
        gamma: weight of the generated data's density below.
    """
    p, q, f_teacher = real.density(x, t), generated.density(x, t), teacher.velocity(x, t)
    pull = q * (f_teacher - generated.velocity(x, t)) - data_weight * p * (f_teacher - real.velocity(x, t))
    return pull**2 / ((1 - gamma) * p + gamma * q).clamp(min=torch.finfo(x.dtype).tiny)


def corrected_teacher(
    real: Mixture, generated: Mixture, alpha: float, beta: float, x: Tensor, t: float, teacher: Field
) -> Tensor:
    r"""The velocity f^g at which the loss at x is zero, the target of a student of a wrong teacher, shape (n,).

        f^g = (alpha / beta) f~ + (p* / p^g) ((1 - alpha) f~ - (1 - beta) f*) / beta

    Where data is rare it is (alpha / beta) f~: beta / alpha = c corrects a teacher that is c times too fast.
    Where generated and real data are equally frequent it is f* + (f~ - f*) / beta: errors there are not corrected.
    """
    ratio = real.density(x, t) / generated.density(x, t)
    f_teacher = teacher(x, t)
    return (alpha * f_teacher + ratio * ((1 - alpha) * f_teacher - (1 - beta) * real.velocity(x, t))) / beta


def corrected_range(shift: float, ratio: float) -> tuple[float, float]:
    """Between which velocities f* a teacher off by `shift` is improved where data is rare: |f^g - f*| < |shift|.

    There f^g - f* = (shift - (r - 1) f*) / r with r = beta / alpha.
    """
    if ratio == 1:
        return math.nan, math.nan
    ends = (-shift, shift * (ratio + 1) / (ratio - 1))
    return min(ends), max(ends)


def distance(
    real: Mixture, generated: Mixture, alpha: float, beta: float, teacher: Field | None = None, times: int = 20
) -> float:
    """The loss integrated over x and averaged over t: what the generator minimises."""
    return _integral(lambda x, t: loss_at(real, generated, alpha, beta, x, t, teacher), (real, generated), times)


def mixture_distance(
    real: Mixture, generated: Mixture, teacher: Mixture, data_weight: float, gamma: float = 0.5, times: int = 20
) -> float:
    """The same of the mixture objective; arguments as of `mixture_loss_at`."""
    return _integral(
        lambda x, t: mixture_loss_at(real, generated, teacher, data_weight, x, t, gamma),
        (real, generated, teacher),
        times,
    )


def _integral(loss: Field, mixtures: tuple[Mixture, ...], times: int) -> float:
    """Of a loss (x, t) -> (n,) over x, averaged over t, on a grid that covers the mixtures."""
    means = [mean for mixture in mixtures for mean in mixture.means]
    reach = 6 * max(1.0, *(std for mixture in mixtures for std in mixture.stds))
    x = torch.linspace(min(*means, 0) - reach, max(*means, 0) + reach, 801, dtype=torch.float64)
    losses = [loss(x, (i + 0.5) / times).sum() for i in range(times)]
    return float(torch.stack(losses).mean() * (x[1] - x[0]))


def best_student(real: Mixture, alpha: float, beta: float, teacher: Field, steps: int = 40) -> Mixture:
    """The Gaussian generator (mean and spread) with the least `distance`, by Newton steps from the real data's.

    Args:
        real: a single Gaussian.
        alpha, beta: RealUID's coefficients.
        teacher: f~.
        steps: at most that many.
    """
    knobs = torch.tensor([real.means[0], math.log(real.stds[0])], dtype=torch.float64)
    h = 1e-3

    def value(v: Tensor) -> float:
        return distance(real, Mixture((float(v[0]),), (math.exp(v[1]),)), alpha, beta, teacher)

    for _ in range(steps):
        moves = h * torch.eye(2, dtype=torch.float64)
        centre = value(knobs)
        up, down = [value(knobs + m) for m in moves], [value(knobs - m) for m in moves]
        both = (value(knobs + moves.sum(0)) + value(knobs - moves.sum(0)) + 2 * centre - sum(up) - sum(down)) / 2
        gradient = torch.tensor([(u - d) / (2 * h) for u, d in zip(up, down, strict=True)], dtype=torch.float64)
        curvature = [(u - 2 * centre + d) / h**2 for u, d in zip(up, down, strict=True)]
        hessian = torch.tensor([[curvature[0], both / h**2], [both / h**2, curvature[1]]], dtype=torch.float64)
        step = torch.linalg.solve(hessian, gradient).clamp(-0.2, 0.2)
        knobs = knobs - step
        if float(step.abs().max()) < 1e-6:
            break
    return Mixture((float(knobs[0]),), (math.exp(knobs[1]),))
