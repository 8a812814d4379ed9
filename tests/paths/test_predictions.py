"""Targets, conversions and scores against exact conditional expectations of Gaussian worlds."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from oracles import FAMILIES, SOURCE, targets, world

from realuid.errors import PredictionError
from realuid.paths import PREDICTIONS, Estimate, check_prediction, convert, heads, make_path, target

BOTH = "velocity_and_noise"
CLOSE = {"rtol": 1e-6, "atol": 1e-6}

# (name, whether the network sees x_T)
SEEN = [(name, False) for name, f in FAMILIES.items() if not f.coupled] + [
    (name, True) for name, f in FAMILIES.items() if f.coupled
]
UNSEEN = [name for name, f in FAMILIES.items() if f.coupled]


class Truth:
    """What perfect networks say at some points of a family's path, at one time per sample."""

    def __init__(self, name: str, d: int, sees_source: bool, count: int = 7):
        self.family = family = FAMILIES[name]
        self.path, self.world = make_path(family.path, **family.settings), world(family.coupled, d)
        random = np.random.default_rng(1)
        u = random.multivariate_normal(self.world.mean, self.world.cov, size=(len(family.times), count))
        self.parts = u.reshape(-1, 3, d)
        self.times = np.repeat(family.times, count)
        self.sees_source = sees_source
        self.x_t = np.stack([np.array(family.abc(t)) @ p for t, p in zip(self.times, self.parts, strict=True)])

    def __call__(self, prediction: str) -> torch.Tensor:
        """E[prediction | x_t (, x_T)] at every point, shape (n, d)."""
        if prediction == BOTH:
            return torch.cat([self("velocity"), self("noise_prediction")], dim=1)
        rows = []
        for t, x_t, (_, x_T, _) in zip(self.times, self.x_t, self.parts, strict=True):
            seen, values = [self.family.abc(t)], [x_t]
            if self.sees_source:
                seen, values = [*seen, SOURCE], [*values, x_T]
            gain, offset = self.world.regress(targets(self.family, t)[prediction], *seen)
            rows.append(gain @ np.concatenate(values) + offset)
        return torch.from_numpy(np.stack(rows))

    def estimate(self, prediction: str) -> Estimate:
        x_t = torch.from_numpy(self.x_t)
        k = self.path.coefficients(torch.from_numpy(self.times)).expand(x_t)
        x_T = torch.from_numpy(self.parts[:, 1]) if self.sees_source else None
        return Estimate(self(prediction), prediction, self.path, k, x_t, x_T)


@pytest.mark.parametrize("name", FAMILIES)
def test_targets_are_the_textbook_ones(name):
    family = FAMILIES[name]
    path, random = make_path(family.path, **family.settings), np.random.default_rng(0)
    x_0, x_T, eps = (torch.from_numpy(random.standard_normal((len(family.times), 2, 4))) for _ in range(3))
    x_t, k = path.sample(x_0, x_T, torch.tensor(family.times, dtype=torch.float64), eps)
    for i, t in enumerate(family.times):
        for prediction, (p, q, r) in targets(family, t).items():
            y = target(prediction, path, k, x_0, x_T, eps)[i]
            np.testing.assert_allclose(y, p * x_0[i] + q * x_T[i] + r * eps[i], err_msg=prediction, **CLOSE)
    if family.path == "brownian_bridge":  # eq. 41 in its affine form
        drift = target("drift", path, k, x_0, x_T, eps)
        np.testing.assert_allclose(drift, (x_t - x_0) / torch.tensor(family.times).double()[:, None, None], **CLOSE)
    if family.noisy:
        both = target(BOTH, path, k, x_0, x_T, eps)
        assert both.shape == (len(family.times), 4, 4)
        assert torch.equal(both[:, 2:], eps)
        assert torch.equal(both[:, :2], target("velocity", path, k, x_0, x_T, eps))


@pytest.mark.parametrize("d", [1, 2])
@pytest.mark.parametrize(("name", "sees_source"), SEEN)
def test_conversions_are_exact_expectations(name, sees_source, d):
    truth = Truth(name, d, sees_source)
    known = [*targets(truth.family, 0.5), *([BOTH] if truth.family.noisy else [])]
    for source, to in itertools.product(known, known):
        np.testing.assert_allclose(truth.estimate(source)[to], truth(to), err_msg=f"{source} -> {to}", **CLOSE)


@pytest.mark.parametrize("d", [1, 2])
@pytest.mark.parametrize("name", UNSEEN)
def test_conversions_without_the_source(name, d):
    truth = Truth(name, d, sees_source=False)
    known = [*targets(truth.family, 0.5), BOTH]
    possible = {("noise_prediction", "score"), ("score", "noise_prediction")}
    possible |= {(BOTH, to) for to in known} | {(same, same) for same in known}
    if truth.family.markov:
        possible |= {("data_prediction", "drift"), ("drift", "data_prediction")}
    for source, to in itertools.product(known, known):
        if (source, to) in possible:
            np.testing.assert_allclose(truth.estimate(source)[to], truth(to), err_msg=f"{source} -> {to}", **CLOSE)
        else:
            with pytest.raises(PredictionError, match=r"three unknowns|train it to predict"):
                truth.estimate(source)[to]


@pytest.mark.parametrize(("name", "sees_source"), SEEN + [(name, False) for name in UNSEEN])
def test_score_is_the_gradient_of_the_log_density(name, sees_source):
    truth = Truth(name, 2, sees_source)
    expected = []
    for t, x_t, (_, x_T, _) in zip(truth.times, truth.x_t, truth.parts, strict=True):
        abc = truth.family.abc(t)
        mean, cov = truth.world.moments(abc)
        if sees_source:
            gain, offset = truth.world.regress(abc, SOURCE)
            mean, cov = gain @ x_T + offset, truth.world.given(abc, SOURCE)
        expected.append(-np.linalg.solve(cov, x_t - mean))
    source = "velocity" if sees_source or not truth.family.coupled else "noise_prediction"
    np.testing.assert_allclose(truth.estimate(source)["score"], np.stack(expected), **CLOSE)


@pytest.mark.parametrize(("name", "sees_source"), SEEN)
@pytest.mark.parametrize("t", [0.0, 1.0])
def test_conversions_stay_finite_at_the_ends(name, sees_source, t):
    family = FAMILIES[name]
    path = make_path(family.path, **family.settings)
    x_t, x_T = torch.randn(5, 3), torch.randn(5, 3)
    k = path.coefficients(torch.full((5,), t)).expand(x_t)
    for source, to in itertools.product(targets(family, 0.5), targets(family, 0.5)):
        value = convert(torch.randn(5, 3), source, to, path, k, x_t, x_T if sees_source else None)
        assert value.isfinite().all(), f"{source} -> {to}"


@pytest.mark.parametrize("name", ["linear", "trigonometric"])
@pytest.mark.parametrize("t", [0.0, 1.0])
def test_flow_velocities_are_exact_at_the_ends(name, t):
    path = make_path(name)
    speed = {"linear": 1.0, "trigonometric": np.pi / 2}[name]
    x, v = torch.tensor([[0.3, -1.2]]).double(), torch.tensor([[0.7, 0.4]]).double()
    k = path.coefficients(torch.tensor([t]).double()).expand(x)
    x_0 = x if t == 0 else -v / speed + (x if name == "linear" else 0)
    x_T = (v / speed + (x if name == "linear" else 0)) if t == 0 else x
    np.testing.assert_allclose(convert(v, "velocity", "data_prediction", path, k, x), x_0, atol=1e-12)
    np.testing.assert_allclose(convert(v, "velocity", "noise_prediction", path, k, x), x_T, atol=1e-12)


def test_noise_becomes_a_score_where_no_data_is_left():
    path, x = make_path("linear"), torch.tensor([[0.5]])
    k = path.coefficients(torch.tensor([1.0])).expand(x)
    assert float(convert(x, "noise_prediction", "score", path, k, x)) == -0.5


@pytest.mark.parametrize(
    ("prediction", "path", "message"),
    [
        ("velocty", "linear", "Did you mean 'velocity'"),
        ("v_prediction", "brownian_bridge", "third coefficient"),
        ("drift", "linear", "belongs to bridges"),
        ("drift", "interpolant", "belongs to bridges"),
        (BOTH, "vp", "Use velocity"),
    ],
)
def test_predictions_that_do_not_exist_are_refused(prediction, path, message):
    with pytest.raises(PredictionError, match=message):
        check_prediction(prediction, make_path(path))


def test_heads_count_stacked_predictions():
    assert heads(BOTH) == 2
    assert all(heads(name) == 1 for name in PREDICTIONS)
