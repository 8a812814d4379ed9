"""w(t) belongs to the space that a loss is taken in."""

import math

import pytest
import torch
from edm_oracles import edm_weight

from realuid.errors import PredictionError
from realuid.paths import PATHS, VEPath, check_prediction, make_path, target

TIMES = torch.tensor([1e-3, 0.01, 0.2, 0.5, 0.9, 0.98], dtype=torch.float64)


def spaces_of(path) -> list[str]:
    def exists(space: str) -> bool:
        try:
            return bool(check_prediction(space, path))
        except PredictionError:
            return False

    names = ("data_prediction", "noise_prediction", "velocity", "v_prediction", "score", "drift", "velocity_and_noise")
    return [space for space in names if exists(space)]


@pytest.mark.parametrize("name", [name for name in PATHS if name != "ve"])
def test_bounded_targets_weigh_one(name):
    path = make_path(name)
    grow = {"score", "drift"} | ({"velocity", "velocity_and_noise"} if path.has_eps else set())
    for space in set(spaces_of(path)) - grow:
        assert path.weight(TIMES, space).tolist() == [1] * len(TIMES), space


@pytest.mark.parametrize("sigma_data", [0.5, 0.7])
def test_edms_loss_is_the_same_in_every_space(sigma_data):
    """By hand, with e the error of the data prediction: noise -e / s, score e / s^2, v -(s + 1 / s) e."""
    path = VEPath(sigma_data=sigma_data)
    sigmas = [0.002, 0.03, 0.5, 1.7, 40.0, 80.0]
    error = {"data_prediction": lambda s: 1, "noise_prediction": lambda s: 1 / s, "velocity": lambda s: 1 / s}
    error |= {"v_prediction": lambda s: s + 1 / s, "score": lambda s: 1 / s**2}
    assert set(error) == set(spaces_of(path))
    for space, size in error.items():
        expected = [edm_weight(s, sigma_data) / size(s) ** 2 for s in sigmas]
        found = path.weight(torch.tensor(sigmas, dtype=torch.float64), space)
        assert found.tolist() == pytest.approx(expected, rel=1e-9), space


SCORES = [
    ("linear", {}, lambda t: t),
    ("vp", {}, lambda t: (1 - math.exp(-0.1 * t - 9.95 * t**2)) ** 0.5),
    ("brownian_bridge", {"noise": 0.5}, lambda t: 0.5 * (t * (1 - t)) ** 0.5),
    ("interpolant", {"noise": 0.5, "coupled": True}, lambda t: 0.5 * (2 * t * (1 - t)) ** 0.5),
    ("interpolant", {"noise": 0.5}, lambda t: (t**2 + 0.25 * 2 * t * (1 - t)) ** 0.5),
    ("interpolant", {"noise": 0.5, "gamma": "sin2"}, lambda t: (t**2 + 0.25 * math.sin(math.pi * t) ** 4) ** 0.5),
]


@pytest.mark.parametrize(("name", "settings", "noise"), SCORES, ids=lambda v: v if isinstance(v, str) else "")
def test_an_error_of_the_score_counts_as_that_of_all_the_noise(name, settings, noise):
    """Given x_0, and x_T in pairs, x_t is normal: its score is minus a standard normal over n, n all that is random.

    So n^2 times the target's variance is 1 at every t: drawn as 20,000 whitened pairs of the two noises.
    """
    path = make_path(name, **settings)
    assert path.weight(TIMES, "score").tolist() == pytest.approx([noise(t) ** 2 for t in TIMES.tolist()], rel=1e-9)
    draws = torch.randn(20_000, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    draws = torch.linalg.solve_triangular(torch.linalg.cholesky(draws.T @ draws / len(draws)), draws.T, upper=False)
    x_T, eps = draws[0][:, None] * (not path.coupled), draws[1][:, None]
    for t in TIMES.tolist():
        times = torch.full((len(eps),), t, dtype=torch.float64)
        _, k = path.sample(torch.zeros_like(eps), x_T, times, eps if path.has_eps else None)
        y = target("score", path, k, torch.zeros_like(eps), x_T, eps if path.has_eps else None)
        assert float(path.weight(times[:1], "score") * (y**2).mean()) == pytest.approx(1, rel=1e-6)


def test_the_weighted_score_of_the_straight_line_has_the_variance_of_noise():
    """The target is -x_T / t: E[1 / t^2] is infinite, E[w / t^2] is 1 at every t."""
    path = make_path("linear")
    assert path.weight(TIMES, "score").tolist() == pytest.approx((TIMES**2).tolist(), rel=1e-12)
    x_0, x_T = torch.zeros(len(TIMES), 1, dtype=torch.float64), torch.ones(len(TIMES), 1, dtype=torch.float64)
    _, k = path.sample(x_0, x_T, TIMES)
    y = target("score", path, k, x_0, x_T, None)[:, 0]
    assert (path.weight(TIMES, "score") * y**2).tolist() == pytest.approx([1] * len(TIMES), rel=1e-9)


def test_weights_of_the_brownian_bridge():
    """score -eps / (s sqrt(t (1 - t))), drift (x_t - x_0) / t."""
    path = make_path("brownian_bridge", noise=0.5)
    expected = {"score": 0.25 * TIMES * (1 - TIMES), "drift": TIMES**2}
    for space, weight in expected.items():
        assert path.weight(TIMES, space).tolist() == pytest.approx(weight.tolist(), rel=1e-9), space


@pytest.mark.parametrize("space", ["velocity", "velocity_and_noise"])
def test_weights_of_an_interpolants_velocity(space):
    """gamma' = s (1 - 2 t) / sqrt(2 t (1 - t)): the velocity's variance is infinite at the ends, w times it below 1."""
    t, s = TIMES, 0.5
    weight = make_path("interpolant", noise=s).weight(t, space)
    steep = s**2 * (1 - 2 * t) ** 2 / (2 * t * (1 - t))
    assert weight.tolist() == pytest.approx((1 / (1 + steep)).tolist(), rel=1e-9)
    assert (weight * steep).max() < 1 < 50 < steep.max()


@pytest.mark.parametrize("name", [name for name, path in PATHS.items() if path.markov])
def test_an_error_of_the_drift_counts_as_that_of_the_data(name):
    """Two predictions x_0 and x_0 + 1 at the same x_t and x_T; eps makes up for the difference."""
    path = make_path(name)
    t = TIMES[1:-1]
    one = torch.ones(len(t), 1, dtype=torch.float64)
    x_T, x_0, eps = 0.3 * one, 0.7 * one, -1.1 * one
    x_t, k = path.sample(x_0, x_T, t, eps)
    other = x_0 + 1
    drifts = [target("drift", path, k, x, x_T, (x_t - k.a * x - k.b * x_T) / k.c) for x in (x_0, other)]
    error = (drifts[1] - drifts[0])[:, 0]
    assert (path.weight(t, "drift") * error**2).tolist() == pytest.approx([1] * len(t), rel=1e-6)
