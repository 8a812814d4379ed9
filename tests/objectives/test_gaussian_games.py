"""RealUID in Gaussian worlds: optimal fake model, distance and generator gradient, for every kind of path."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from oracles import FAMILIES, Side, lemma_2, optimal_fake, slope, world

from realuid.objectives import RealUID
from realuid.paths import STACKED, make_path, target

COEFFICIENTS = [(1.0, 1.0), (0.92, 0.94), (0.98, 0.96), (0.92, 0.86)]

# family, space of the losses, whether networks and generator see x_T, time
GAMES = [
    ("linear", "velocity", False, 0.3504),
    ("linear", "velocity", False, 0.9004),
    ("linear", "data_prediction", False, 0.7004),
    ("trigonometric", "velocity", False, 0.7004),
    ("vp", "noise_prediction", False, 0.3504),
    ("vp", "score", False, 0.3504),
    ("cosine", "v_prediction", False, 0.7004),
    ("ddpm linear", "data_prediction", False, 0.3504),
    ("brownian", "data_prediction", True, 0.3504),
    ("brownian", "drift", True, 0.7004),
    ("brownian", "data_prediction", False, 0.3504),
    ("i2sb", "velocity", True, 0.3504),
    ("vp bridge", "data_prediction", True, 0.7004),
    ("ve bridge", "data_prediction", True, 0.3504),
    ("interpolant linear sqrt free", "velocity", False, 0.3504),
    ("interpolant trigonometric sin2 free", "noise_prediction", False, 0.7004),
    ("interpolant trigonometric sqrt coupled", "velocity", True, 0.7004),
    ("interpolant linear sin2 coupled", "velocity_and_noise", False, 0.3504),
]
REAL, GENERATED = {"shift": 0.0, "stretch": 1.0}, {"shift": 0.25, "stretch": 0.8}


class Game:
    """One time of a path, real data, and a generator x_0 = m + shift + stretch mix z (+ link x_T)."""

    def __init__(self, name: str, space: str, sees_source: bool, t: float, alpha: float, beta: float):
        self.family, self.space, self.t, self.alpha, self.beta = FAMILIES[name], space, t, alpha, beta
        self.path = make_path(self.family.path, **self.family.settings)
        self.objective = RealUID(alpha, beta)
        self.parts = STACKED.get(space, (space,))
        self.sources = (-1.1, 0.4, 0.9) if sees_source else (None,)  # x_T takes three values, or is integrated over
        self.real = world(self.family.coupled, **REAL)

    def side(self, x_T: float | None, shift: float, stretch: float) -> Side:
        return Side.of(self.family, self.t, world(self.family.coupled, 1, shift, stretch), self.parts, x_T)

    def distance(self, shift: float, stretch: float) -> float:
        """Lemma 2, in expectation over x_T where it is seen (Def. 5)."""
        sides = [(self.side(x_T, **REAL), self.side(x_T, shift, stretch)) for x_T in self.sources]
        return sum(lemma_2(real, generated, self.alpha, self.beta) for real, generated in sides) / len(sides)

    def points(self, x_T: float | None, shift, stretch):
        """A quadrature of the draws of x_t: (x_t, target, weights), through the library's own path and targets."""
        axis = torch.linspace(-8, 8, 49, dtype=torch.float64)  # exact to rounding for smooth functions of Gaussians
        axes = [axis, axis, axis] if x_T is None and self.path.has_eps else [axis, axis]
        z, *rest = (v.reshape(-1, 1) for v in torch.meshgrid(*axes, indexing="ij"))
        weights = torch.exp(-(z**2 + sum(v**2 for v in rest)) / 2)[:, 0]
        if x_T is not None:
            source, eps = torch.full_like(z, x_T), rest[0]
        else:
            source, eps = rest[0], rest[1] if len(rest) > 1 else None
            source = float(self.real.cov[1, 1]) ** 0.5 * source + float(self.real.mean[1])
        link = float(self.real.cov[0, 1] / self.real.cov[1, 1])
        spread = float(self.real.cov[0, 0] - link * self.real.cov[0, 1]) ** 0.5
        mean = float(self.real.mean[0] - link * self.real.mean[1])
        x_0 = mean + shift + spread * stretch * z + link * source
        x_t, k = self.path.sample(x_0, source, torch.full((len(z),), self.t, dtype=torch.float64), eps)
        return x_t, target(self.space, self.path, k, x_0, source, eps), weights / weights.sum()

    def networks(self, x_T: float | None, shift: float, stretch: float):
        """Teacher f* and optimal fake model f, as functions of x_t that gradients flow through."""
        real, generated = self.side(x_T, **REAL), self.side(x_T, shift, stretch)

        def line(side):
            gain, offset = torch.from_numpy(side.gain), torch.from_numpy(side.offset)
            return lambda x: x * gain + offset

        def log_density(side, x):
            return -((x - side.mean) ** 2) / (2 * side.var) - np.log(side.var) / 2

        f_star, f_g = line(real), line(generated)

        def fake(x):
            odds = log_density(real, x) - log_density(generated, x)
            p, q = torch.sigmoid(odds), torch.sigmoid(-odds)
            top = (1 - self.beta) * p * f_star(x) + self.beta * q * f_g(x)
            return top / ((1 - self.alpha) * p + self.alpha * q)

        return f_star, fake

    def value(self, shift: float, stretch: float) -> float:
        """RealUM(f*) - RealUM(f) at the optimal fake model."""
        total = 0.0
        for x_T in self.sources:
            f_star, fake = self.networks(x_T, shift, stretch)
            x_t, y, w = self.points(x_T, shift, stretch)
            on = self.objective.fake_on_generated
            total += float((w * (on(f_star(x_t), y) - on(fake(x_t), y))).sum())
            if self.objective.uses_real_data:
                x_t, y, w = self.points(x_T, **REAL)
                on = self.objective.fake_on_real
                total += float((w * (on(f_star(x_t), y) - on(fake(x_t), y))).sum())
        return total / len(self.sources)

    def generator_gradient(self, shift: float, stretch: float) -> np.ndarray:
        """Gradient of the generator's loss in (shift, stretch), with the optimal fake model frozen."""
        total = np.zeros(2)
        for x_T in self.sources:
            f_star, fake = self.networks(x_T, shift, stretch)
            knobs = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (shift, stretch)]
            x_t, y, w = self.points(x_T, *knobs)
            loss = (w * self.objective.generator(f_star(x_t), fake(x_t), y, x_t)).sum()
            total += [float(g) for g in torch.autograd.grad(loss, knobs)]
        return total / len(self.sources)


@pytest.fixture(params=GAMES, ids=lambda g: f"{g[0]}, {g[1]}{', sees x_T' if g[2] else ''}, t={g[3]}")
def settings(request):
    return request.param


@pytest.fixture(params=COEFFICIENTS, ids=str)
def game(request, settings):
    return Game(*settings, *request.param)


def test_optimal_fake_model_is_eq_22(game):
    """The losses minimised point by point: at x the target is f(x) plus or minus its spread, on either side."""
    x_T = game.sources[0]
    real, generated = game.side(x_T, **REAL), game.side(x_T, **GENERATED)
    x = np.linspace(-3, 3, 41)
    p, q = torch.from_numpy(real.density(x)), torch.from_numpy(generated.density(x))
    y_r, y_g = torch.from_numpy(real.f(x)), torch.from_numpy(generated.f(x))

    def gradient(f):
        f = f.requires_grad_()
        loss = sum(
            q * game.objective.fake_on_generated(f, y_g + spread) + p * game.objective.fake_on_real(f, y_r - spread)
            for spread in (-0.7, 0.7)
        )
        return torch.autograd.grad(loss.sum(), f)[0]

    at_zero, at_one = gradient(torch.zeros_like(y_r)), gradient(torch.ones_like(y_r))
    minimum = -at_zero / (at_one - at_zero)  # the loss is quadratic in f
    expected = optimal_fake(x, real, generated, game.alpha, game.beta)
    np.testing.assert_allclose(minimum, expected, rtol=1e-6, atol=1e-9)
    _, fake = game.networks(x_T, **GENERATED)
    np.testing.assert_allclose(fake(torch.from_numpy(x)[:, None]), expected, rtol=1e-6, atol=1e-9)


def test_maximum_is_the_distance_of_lemma_2(game):
    assert game.distance(**GENERATED) > 1e-3
    assert game.value(**GENERATED) == pytest.approx(game.distance(**GENERATED), rel=1e-6, abs=1e-9)


def test_generator_gradient_is_that_of_the_distance(game):
    shift, stretch = GENERATED["shift"], GENERATED["stretch"]
    expected = [
        slope(lambda v: game.distance(v, stretch), shift, pinned=False),
        slope(lambda v: game.distance(shift, v), stretch, pinned=False),
    ]
    assert np.abs(expected).max() > 1e-3
    np.testing.assert_allclose(game.generator_gradient(shift, stretch), expected, rtol=1e-6, atol=1e-6)


def test_at_the_data_all_is_zero(game):
    assert game.distance(**REAL) == pytest.approx(0, abs=1e-12)
    assert game.value(**REAL) == pytest.approx(0, abs=1e-9)
    np.testing.assert_allclose(game.generator_gradient(**REAL), 0, atol=1e-8)
    x = torch.linspace(-3, 3, 9, dtype=torch.float64)[:, None]
    f_star, fake = game.networks(game.sources[0], **REAL)
    np.testing.assert_allclose(fake(x), f_star(x), rtol=1e-12)
