"""What a wrong teacher's student converges to: laws 1 and 2 of docs/theory.md, in closed form and by brute force.

Teacher and data are mixtures of Gaussians in one and two dimensions on the linear path. The generator is a mixture too:
its components can be moved and stretched, with weights that stay. The oracles below are numpy and know nothing of the
library; the losses are the library's, over a quadrature of its draws.
"""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from players import Weights, general_weights, mixture_weights
from scipy import optimize

from realuid.objectives import GeneralRealUID, MixtureUID, Objective
from realuid.paths import make_path, target

#: Times of the game and their weights: a path is matched at all of them at once.
TIMES = (0.1, 0.35, 0.6, 0.85)
LAMBDAS = (0.0, 0.25, 0.5, 0.75, 1.0)
BETAS = (0.86, 0.94, 0.98, 1.25, 2.0)


@dataclasses.dataclass(frozen=True)
class Blobs:
    """A mixture of round Gaussians: means (k, d), standard deviations (k,), weights (k,)."""

    means: np.ndarray
    stds: np.ndarray
    weights: np.ndarray

    @property
    def d(self) -> int:
        return self.means.shape[1]

    def side(self, x: np.ndarray, t: float) -> tuple[np.ndarray, np.ndarray]:
        """Density (n, 1) and density times velocity (n, d) of x_t = (1 - t) x_0 + t x_T at x, (n, d)."""
        away = x[:, None] - (1 - t) * self.means  # (n, k, d)
        var = (1 - t) ** 2 * self.stds**2 + t**2
        each = self.weights * np.exp(-(away**2).sum(2) / (2 * var)) / (2 * np.pi * var) ** (self.d / 2)
        # E[x_T - x_0 | x_t] of a component
        velocity = -self.means + ((t - (1 - t) * self.stds**2) / var)[:, None] * away
        return each.sum(1, keepdims=True), (each[:, :, None] * velocity).sum(1)

    def mixed(self, other: Blobs, share: float) -> Blobs:
        """(1 - share) self + share other; components without weight are left out."""
        weights = np.concatenate([(1 - share) * self.weights, share * other.weights])
        kept = weights > 0
        means, stds = np.concatenate([self.means, other.means]), np.concatenate([self.stds, other.stds])
        return Blobs(means[kept], stds[kept], weights[kept])

    def moved(self, knobs: np.ndarray) -> Blobs:
        """With means and log-stds moved by knobs, (k (d + 1),)."""
        knobs = knobs.reshape(len(self.stds), self.d + 1)
        return Blobs(self.means + knobs[:, :-1], self.stds * np.exp(knobs[:, -1]), self.weights)


def line(*components: tuple[float, float, float]) -> Blobs:
    """In one dimension: (mean, std, weight)."""
    values = np.array(components)
    return Blobs(values[:, :1], values[:, 1], values[:, 2])


WORLDS = {  # teacher, data
    "1-D shifted": (line((0.4, 1.0, 1.0)), line((0.0, 1.0, 1.0))),
    "1-D narrow": (line((0.0, 0.7, 1.0)), line((0.0, 1.0, 1.0))),
    "1-D mixtures": (line((-2.4, 0.4, 0.7), (1.0, 0.5, 0.3)), line((-0.7, 0.4, 0.4), (3.0, 0.5, 0.6))),
    "2-D shifted": (
        Blobs(np.array([[0.3, -0.2]]), np.array([0.8]), np.ones(1)),
        Blobs(np.zeros((1, 2)), np.ones(1), np.ones(1)),
    ),
    "2-D mixtures": (
        Blobs(np.array([[1.0, 0.2], [-0.8, 0.0]]), np.array([0.6, 0.8]), np.array([0.7, 0.3])),
        Blobs(np.array([[0.7, 0.5], [-1.0, -0.6]]), np.array([0.5, 0.7]), np.array([0.4, 0.6])),
    ),
}


def grid(d: int) -> tuple[np.ndarray, float]:
    """Points that cover all worlds and the volume of each."""
    axis = np.linspace(-9, 9, {1: 601, 2: 91}[d])
    return np.stack([v.ravel() for v in np.meshgrid(*[axis] * d)], axis=1), (axis[1] - axis[0]) ** d


def game(x: np.ndarray, t: float, teacher: Blobs, data: Blobs, generated: Blobs, weights: Weights):
    """Oracle: what the game pulls along, (n, d), and what divides it, (n, 1)."""
    (p, p_f), (q, q_f), (u, u_f) = (blobs.side(x, t) for blobs in (data, generated, teacher))
    f = u_f / np.maximum(u, 1e-300)
    (a, b), (a_real, b_real) = weights.on_generated, weights.on_real
    pull = q * a * f - b * q_f + p * a_real * f - b_real * p_f
    return pull, weights.gamma * q + (1 - weights.gamma) * p, f


def distance(teacher: Blobs, data: Blobs, generated: Blobs, weights: Weights) -> float:
    """Oracle: the maximum over fake models, summed over the times, by brute force."""
    x, volume = grid(data.d)
    total = 0.0
    for t in TIMES:
        pull, divisor, _ = game(x, t, teacher, data, generated, weights)
        total += float(((pull**2).sum(1) / np.maximum(divisor[:, 0], 1e-300)).sum() * volume)
    return total


class Library:
    """The losses of both players over a quadrature of the library's own draws, and their gradients."""

    def __init__(self, objective: Objective, teacher: Blobs, data: Blobs, weights: Weights):
        self.objective, self.teacher, self.data, self.weights = objective, teacher, data, weights
        self.path = make_path("linear")

    def draws(self, blobs: Blobs, t: float, knobs: torch.Tensor | None = None):
        """x_t, target and probabilities. Per component the noise is turned so that one half of it makes x_t, on a fine
        grid, and the other half, which enters by the target alone, takes Gauss's nodes."""
        d, fine = blobs.d, np.linspace(-7, 7, {1: 161, 2: 41}[blobs.d])
        coarse, coarse_weights = np.polynomial.hermite_e.hermegauss(2)
        u = np.stack([v.ravel() for v in np.meshgrid(*[fine] * d, *[coarse] * d, indexing="ij")], axis=1)
        factors = np.meshgrid(*[np.exp(-(fine**2) / 2)] * d, *[coarse_weights] * d, indexing="ij")
        mass = np.prod(factors, axis=0).ravel()
        moves = torch.zeros(len(blobs.stds), d + 1, dtype=torch.float64) if knobs is None else knobs
        columns: list[tuple[torch.Tensor, ...]] = []
        for i, (mean, std, weight) in enumerate(zip(blobs.means, blobs.stds, blobs.weights, strict=True)):
            a, b = (1 - t) * std, t
            norm = np.hypot(a, b)
            z = torch.from_numpy((a * u[:, :d] - b * u[:, d:]) / norm)
            x_T = torch.from_numpy((b * u[:, :d] + a * u[:, d:]) / norm)
            x_0 = torch.from_numpy(mean) + moves[i, :-1] + std * moves[i, -1].exp() * z
            x_t, k = self.path.sample(x_0, x_T, torch.full((len(x_0),), t, dtype=torch.float64))
            y = target("velocity", self.path, k, x_0, x_T, None)
            columns.append((x_t, y, torch.from_numpy(weight * mass / mass.sum())))
        return tuple(torch.cat(column) for column in zip(*columns, strict=True))

    def networks(self, generated: Blobs, t: float, x_t: torch.Tensor):
        """f~ and the best f at points, with their derivatives in x_t as a graph."""
        x = x_t.detach().numpy()

        def values(at: np.ndarray):
            pull, divisor, f = game(at, t, self.teacher, self.data, generated, self.weights)
            return f, f - pull / np.maximum(divisor, 1e-300)

        h, (f, fake) = 1e-4, values(x)
        taught, learnt = torch.from_numpy(f), torch.from_numpy(fake)
        for j in range(x.shape[1]):
            step = np.zeros(x.shape[1])
            step[j] = h
            up, down, up2, down2 = (values(x + s * step) for s in (1, -1, 2, -2))
            slopes = [(8 * (up[i] - down[i]) - (up2[i] - down2[i])) / (12 * h) for i in (0, 1)]
            offset = (x_t - x_t.detach())[:, j : j + 1]
            taught, learnt = (
                taught + torch.from_numpy(slopes[0]) * offset,
                learnt + torch.from_numpy(slopes[1]) * offset,
            )
        return taught, learnt

    def fake_value(self, generated: Blobs) -> float:
        """The fake model's loss at f = f~, which is 0, less that of the best one."""
        total = 0.0
        for t in TIMES:
            for blobs, on in ((generated, self.objective.fake_on_generated), (self.data, self.objective.fake_on_real)):
                x_t, y, w = self.draws(blobs, t)
                taught, fake = self.networks(generated, t, x_t)
                total -= float((w * on(fake, y, taught)).sum())
        return total

    def generator_gradient(self, start: Blobs, at: np.ndarray) -> np.ndarray:
        """In the knobs of `start`, where the generator is `start.moved(at)` and the fake model the best one."""
        here = start.moved(at)
        knobs = torch.zeros(len(start.stds), start.d + 1, dtype=torch.float64, requires_grad=True)
        total = torch.zeros((), dtype=torch.float64)
        for t in TIMES:
            x_t, y, w = self.draws(here, t, knobs)
            taught, fake = self.networks(here, t, x_t)
            total = total + (w * self.objective.generator(taught, fake, y, x_t)).sum()
        return torch.autograd.grad(total, knobs)[0].numpy().ravel()


def mixture_of(data_weight: float) -> tuple[MixtureUID, Weights]:
    gamma = 0.5
    return MixtureUID(data_weight, gamma), mixture_weights(data_weight, gamma)


def general_of(beta: float) -> tuple[GeneralRealUID, Weights]:
    """alpha = beta, on either side of 1."""
    gamma = 0.5
    return GeneralRealUID(beta, beta, gamma), general_weights(beta, beta, gamma)


def start_near(blobs: Blobs) -> np.ndarray:
    return 0.15 * np.cos(np.arange(len(blobs.stds) * (blobs.d + 1)))


def slow_in_the_plane(values: tuple[float, ...], fast: float | None = None) -> list:
    """Cases of (world, value); those in two dimensions but at `fast` only where slow tests are run."""
    return [
        pytest.param(world, value, marks=[pytest.mark.slow] if world.startswith("2-D") and value != fast else [])
        for world, value in itertools.product(WORLDS, values)
    ]


@pytest.mark.parametrize(("world", "data_weight"), slow_in_the_plane(LAMBDAS, fast=0.5))
def test_both_players_against_brute_force(world: str, data_weight: float) -> None:
    teacher, data = WORLDS[world]
    check_both_players(*mixture_of(data_weight), teacher, data, teacher.mixed(data, data_weight))


@pytest.mark.parametrize(("world", "beta"), slow_in_the_plane(BETAS))
def test_both_players_of_general_realuid_against_brute_force(world: str, beta: float) -> None:
    teacher, data = WORLDS[world]
    check_both_players(*general_of(beta), teacher, data, data)


def check_both_players(objective: Objective, weights: Weights, teacher: Blobs, data: Blobs, start: Blobs) -> None:
    """The maximum over fake models and the generator's gradient, at a generator near `start`."""
    library, knobs = Library(objective, teacher, data, weights), start_near(start)
    expected = distance(teacher, data, start.moved(knobs), weights)
    assert expected > 1e-3
    assert library.fake_value(start.moved(knobs)) == pytest.approx(expected, rel=1e-6)
    gradient = library.generator_gradient(start, knobs)
    for i in range(len(knobs)) if data.d == 1 else (0, len(knobs) - 1):
        h, unit = 1e-3, np.eye(len(knobs))[i]
        values = [distance(teacher, data, start.moved(knobs + s * h * unit), weights) for s in (-2, -1, 1, 2)]
        slope = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * h)
        assert gradient[i] == pytest.approx(slope, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize(("world", "data_weight"), slow_in_the_plane(LAMBDAS))
def test_law_2_the_student_is_the_mixture(world: str, data_weight: float) -> None:
    """From other means and spreads the library's gradient leads back to (1 - lambda) p~ + lambda p^r."""
    teacher, data = WORLDS[world]
    objective, weights = mixture_of(data_weight)
    solution = teacher.mixed(data, data_weight)
    found = minimiser(Library(objective, teacher, data, weights), solution, 0.3 * start_near(solution))
    assert np.abs(found).max() < 1e-4, found
    assert distance(teacher, data, solution, weights) < 1e-12


def minimiser(library: Library, blobs: Blobs, start: np.ndarray) -> np.ndarray:
    """The knobs of `blobs` where the library's gradient vanishes, found from `start`."""
    return optimize.root(lambda knobs: library.generator_gradient(blobs, knobs), start, tol=1e-9).x


@pytest.mark.parametrize("data_weight", LAMBDAS)
def test_law_2_in_the_plane_the_gradient_vanishes_at_the_mixture(data_weight: float) -> None:
    teacher, data = WORLDS["2-D mixtures"]
    objective, weights = mixture_of(data_weight)
    solution = teacher.mixed(data, data_weight)
    gradient = Library(objective, teacher, data, weights).generator_gradient(solution, np.zeros(3 * len(solution.stds)))
    assert np.abs(gradient).max() < 1e-7
    assert distance(teacher, data, solution, weights) < 1e-12


@pytest.mark.parametrize("gamma", [0.1, 0.9])
def test_gamma_does_not_move_the_solution(gamma: float) -> None:
    teacher, data = WORLDS["2-D mixtures"]
    solution, weights = teacher.mixed(data, 0.5), mixture_weights(0.5, gamma)
    library = Library(MixtureUID(0.5, gamma), teacher, data, weights)
    assert np.abs(library.generator_gradient(solution, np.zeros(len(solution.stds) * 3))).max() < 1e-7
    assert np.abs(library.generator_gradient(solution, start_near(solution))).max() > 1e-3


@pytest.mark.parametrize(("world", "beta"), slow_in_the_plane(BETAS))
def test_law_1_where_the_student_is_near_the_data_an_error_is_divided_by_beta(world: str, beta: float) -> None:
    """A teacher off by a little in every mean and spread: to first order the student is off by a beta-th of it."""
    data = WORLDS[world][1]
    objective, weights = general_of(beta)
    error = 1e-3 * np.cos(np.arange(len(data.stds) * (data.d + 1)))
    library = Library(objective, data.moved(error), data, weights)
    found = minimiser(library, data, 0 * error)
    # the error of second order is even in the error
    other = minimiser(Library(objective, data.moved(-error), data, weights), data, 0 * error)
    np.testing.assert_allclose((found - other) / 2, error / beta, rtol=1e-3, atol=1e-7)
    assert np.abs(found - error / beta).max() < 1e-4


@pytest.mark.parametrize(("alpha", "beta", "mean"), [(0.96, 0.98, 0.408), (0.92, 0.94, 0.425), (0.92, 0.86, 0.463)])
def test_the_published_pairs_enlarge_an_error(alpha: float, beta: float, mean: float) -> None:
    """A teacher off by 0.4. Off the diagonal alpha = beta law 1, 0.4 / beta, is an approximation."""
    weights = general_weights(alpha, beta, alpha)
    library = Library(GeneralRealUID(alpha, beta, alpha), line((0.4, 1.0, 1.0)), line((0.0, 1.0, 1.0)), weights)
    found = optimize.root(lambda knobs: library.generator_gradient(library.data, knobs), [0.0, 0.0])
    assert found.x[0] == pytest.approx(mean, abs=1e-3)
    assert found.x[0] == pytest.approx(0.4 / beta, abs=3e-3)


@pytest.mark.parametrize("beta", [1.25, 2.0])
def test_law_2_is_general_realuid_above_one(beta: float) -> None:
    teacher, data = WORLDS["1-D mixtures"]
    weights = general_weights(beta, beta, 0.5)
    library, solution = (
        Library(GeneralRealUID(beta, beta, 0.5), teacher, data, weights),
        teacher.mixed(data, 1 - 1 / beta),
    )
    assert np.abs(library.generator_gradient(solution, np.zeros(8))).max() < 1e-7
    assert np.abs(minimiser(library, solution, 0.3 * start_near(solution))).max() < 1e-4
