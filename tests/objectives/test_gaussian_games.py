"""RealUID in Gaussian worlds: optimal fake model, distance and generator gradient, for every kind of path.

In one dimension with many objectives, and in two, where data, source and their coupling are correlated.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from games import GENERATED, REAL, Game
from oracles import optimal_fake, slope

from realuid.objectives import GeneralRealUID, RealUID

OBJECTIVES = [
    RealUID(1.0, 1.0),
    RealUID(0.92, 0.94),
    RealUID(0.98, 0.96),
    RealUID(0.92, 0.86),
    GeneralRealUID(0.92, 0.94, gamma=0.7),
    GeneralRealUID(1.0, 0.94, gamma=0.9, delta_scale=0.94),
]

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
    ("ve", "data_prediction", False, 0.7004),
    ("ve", "noise_prediction", False, 2.5004),
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


# the same in two dimensions, one time a family
PLANES = [
    ("linear", "velocity", False, 0.3504),
    ("trigonometric", "velocity", False, 0.7004),
    ("vp", "noise_prediction", False, 0.3504),
    ("cosine", "v_prediction", False, 0.7004),
    ("ddpm linear", "score", False, 0.3504),
    ("ve", "data_prediction", False, 0.7004),
    ("brownian", "data_prediction", True, 0.3504),
    ("brownian", "drift", False, 0.7004),
    ("i2sb", "velocity", True, 0.3504),
    ("vp bridge", "data_prediction", True, 0.7004),
    ("ve bridge", "data_prediction", True, 0.3504),
    ("interpolant linear sqrt free", "velocity", False, 0.3504),
    ("interpolant trigonometric sqrt coupled", "velocity", True, 0.7004),
    ("interpolant linear sin2 coupled", "velocity_and_noise", False, 0.3504),
]
CASES = [(1, game, objective) for game in GAMES for objective in OBJECTIVES]
CASES += [(2, game, objective) for game in PLANES for objective in (OBJECTIVES[1], OBJECTIVES[4])]


def describe(case) -> str:
    d, (name, space, seen, t), o = case
    return f"{d}-D, {name}, {space}{', sees x_T' if seen else ''}, t={t}, {type(o).__name__}-{o.alpha}-{o.beta}"


@pytest.fixture(params=CASES, ids=describe)
def game(request):
    d, settings, objective = request.param
    return Game(*settings, objective, d)


def test_optimal_fake_model_is_eq_22(game):
    """The losses minimised point by point: at x the target is f(x) plus or minus its spread, on either side."""
    x_T = game.sources[0]
    real, generated = game.side(x_T, **REAL), game.side(x_T, **GENERATED)
    x = np.random.default_rng(0).uniform(-3, 3, (41, game.d))
    p, q = torch.from_numpy(real.density(x)), torch.from_numpy(generated.density(x))
    y_r, y_g = torch.from_numpy(real.f(x)), torch.from_numpy(generated.f(x))

    def gradient(f):
        f = f.requires_grad_()
        loss = sum(
            q * game.objective.fake_on_generated(f, y_g + spread, y_r)
            + p * game.objective.fake_on_real(f, y_r - spread, y_r)
            for spread in (-0.7, 0.7)
        )
        return torch.autograd.grad(loss.sum(), f)[0]

    at_zero, at_one = gradient(torch.zeros_like(y_r)), gradient(torch.ones_like(y_r))
    minimum = -at_zero / (at_one - at_zero)  # the loss is quadratic in f
    expected = optimal_fake(x, real, generated, game.alpha, game.beta, game.gamma, game.scale)
    np.testing.assert_allclose(minimum, expected, rtol=1e-6, atol=1e-9)
    _, fake = game.networks(x_T, **GENERATED)
    np.testing.assert_allclose(fake(torch.from_numpy(x)), expected, rtol=1e-6, atol=1e-9)


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
    x = torch.linspace(-3, 3, 9 * game.d, dtype=torch.float64).reshape(9, game.d)
    f_star, fake = game.networks(game.sources[0], **REAL)
    np.testing.assert_allclose(fake(x), f_star(x), rtol=1e-12)
