"""RealUID in Gaussian worlds: optimal fake model, distance and generator gradient, for every kind of path.

In one dimension with many objectives, and in two, where data, source and their coupling are correlated.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from games import GENERATED, REAL, WRONG, Game
from oracles import slope
from players import optimal_fake

from realuid.objectives import GeneralRealUID, MixtureUID, RealUID

OBJECTIVES = [
    RealUID(1.0, 1.0),
    RealUID(0.92, 0.94),
    RealUID(0.98, 0.96),
    RealUID(0.92, 0.86),
    GeneralRealUID(0.92, 0.94, gamma=0.7),
    GeneralRealUID(1.0, 0.94, gamma=0.9, delta_scale=0.94),
]
#: Of teachers that are wrong.
CORRECTING = [
    RealUID(1.0, 1.0),
    RealUID(0.92, 0.86),
    GeneralRealUID(0.98, 0.94, gamma=0.6),
    GeneralRealUID(1.25, 1.25, gamma=0.5),
    GeneralRealUID(1.0, 2.0, gamma=0.4),
    MixtureUID(0.0, gamma=1.0),
    MixtureUID(0.25, gamma=0.5),
    MixtureUID(0.5, gamma=0.8),
    MixtureUID(0.75, gamma=0.5),
    MixtureUID(1.0, gamma=0.3),
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
CASES = [(1, game, objective, REAL) for game in GAMES for objective in OBJECTIVES]
CASES += [(2, game, objective, REAL) for game in PLANES for objective in (OBJECTIVES[1], OBJECTIVES[4])]
CASES += [(1, game, objective, WRONG) for game in GAMES[::3] for objective in CORRECTING]
CASES += [(1, game, MixtureUID(0.5), WRONG) for game in GAMES]
CASES += [(2, game, MixtureUID(1.0, gamma=0.4), WRONG) for game in PLANES]


def describe(case) -> str:
    d, (name, space, seen, t), o, taught = case
    where = f"{d}-D, {name}, {space}{', sees x_T' if seen else ''}, t={t}"
    numbers = "-".join(str(v) for k, v in vars(o).items() if k not in ("weight", "normalise"))
    return f"{where}, {type(o).__name__}-{numbers}{', wrong teacher' if taught is WRONG else ''}"


@pytest.fixture(params=CASES, ids=describe)
def game(request):
    d, settings, objective, taught = request.param
    return Game(*settings, objective, d, taught)


def test_optimal_fake_model_is_eq_22(game):
    """The losses minimised point by point: at x the target is f(x) plus or minus its spread, on either side."""
    x_T = game.sources[0]
    real, generated, taught = (game.side(x_T, **each) for each in (REAL, GENERATED, game.taught))
    x = np.random.default_rng(0).uniform(-3, 3, (41, game.d))
    p, q = torch.from_numpy(real.density(x)), torch.from_numpy(generated.density(x))
    y_r, y_g, teacher = (torch.from_numpy(side.f(x)) for side in (real, generated, taught))

    def gradient(f):
        f = f.requires_grad_()
        loss = sum(
            q * game.objective.fake_on_generated(f, y_g + spread, teacher)
            + p * game.objective.fake_on_real(f, y_r - spread, teacher)
            for spread in (-0.7, 0.7)
        )
        return torch.autograd.grad(loss.sum(), f)[0]

    at_zero, at_one = gradient(torch.zeros_like(y_r)), gradient(torch.ones_like(y_r))
    minimum = -at_zero / (at_one - at_zero)  # the loss is quadratic in f
    expected = optimal_fake(x, real, generated, taught, game.weights, game.scale)
    np.testing.assert_allclose(minimum, expected, rtol=1e-6, atol=1e-9)
    _, fake = game.networks(x_T, **GENERATED)
    np.testing.assert_allclose(fake(torch.from_numpy(x)), expected, rtol=1e-6, atol=1e-9)


def test_maximum_is_the_distance_of_lemma_2(game):
    assert game.distance(**GENERATED) > 1e-4
    assert game.value(**GENERATED) == pytest.approx(game.distance(**GENERATED), rel=1e-6, abs=1e-9)


def test_generator_gradient_is_that_of_the_distance(game):
    shift, stretch = GENERATED["shift"], GENERATED["stretch"]
    expected = [
        slope(lambda v: game.distance(v, stretch), shift, pinned=False),
        slope(lambda v: game.distance(shift, v), stretch, pinned=False),
    ]
    assert np.abs(expected).max() > 3e-4
    np.testing.assert_allclose(game.generator_gradient(shift, stretch), expected, rtol=1e-6, atol=1e-6)


def test_with_a_right_teacher_all_is_zero_at_the_data(game):
    if game.taught is WRONG:
        assert game.distance(**REAL) > 1e-4 or game.weights.on_real == (-1.0, -1.0)
        return
    assert game.distance(**REAL) == pytest.approx(0, abs=1e-12)
    assert game.value(**REAL) == pytest.approx(0, abs=1e-9)
    np.testing.assert_allclose(game.generator_gradient(**REAL), 0, atol=1e-8)
    x = torch.linspace(-3, 3, 9 * game.d, dtype=torch.float64).reshape(9, game.d)
    f_star, fake = game.networks(game.sources[0], **REAL)
    np.testing.assert_allclose(fake(x), f_star(x), rtol=1e-12)
