"""Sampling from perfect teachers gives the data's moments, reproducibly, and what cannot be done is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from exact import exact_teacher
from oracles import FAMILIES, world

from realuid.errors import ConfigError, PredictionError
from realuid.models import MLP, Condition, Generator, MatchingModel
from realuid.paths import LinearPath, make_path
from realuid.sampling import SAMPLERS, as_batch, generate, sample_teacher

COUNT = 8_000


#: Names of families whose path ends in pure noise, or in pairs seen by the network.
SEEN = [name for name in FAMILIES if name != "vp, other betas" and not name.endswith("sin2 coupled")]
CASES = [(name, "data_prediction", FAMILIES[name].coupled, sampler) for name in SEEN for sampler in (None, "sde")]
CASES += [("brownian", "drift", False, None), ("vp bridge", "data_prediction", False, None)]
CASES += [("brownian", "velocity", False, None)]
CASES += [(f"interpolant linear {g} coupled", "velocity", False, "heun") for g in ("sqrt", "sin2")]
CASES += [(f"interpolant linear {g} coupled", "velocity_and_noise", False, "sde") for g in ("sqrt", "sin2")]


@pytest.mark.parametrize(("name", "prediction", "sees_source", "sampler"), CASES)
def test_teachers_sample_the_data(name, prediction, sees_source, sampler):
    """Mean, covariance and, if it is seen, coupling with x_T, to the noise of 8,000 samples and the bias of steps."""
    w = world(FAMILIES[name].coupled, d=2)
    model = exact_teacher(name, w, prediction, sees_source)
    random = torch.Generator().manual_seed(0)

    def noise(x):
        return torch.randn(x.shape, dtype=x.dtype, generator=random)

    x_T = torch.randn(COUNT, 2, dtype=torch.float64, generator=random)
    x_T = torch.linalg.solve_triangular(torch.linalg.cholesky(torch.cov(x_T.T)), (x_T - x_T.mean(0)).T, upper=False).T
    x_T = x_T @ torch.from_numpy(np.linalg.cholesky(w.cov[2:4, 2:4])).T + torch.from_numpy(w.mean[2:4])
    x_0 = sample_teacher(model, x_T, 100, sampler=sampler, noise=noise)
    mean, cov = w.moments((1, 0, 0))
    np.testing.assert_allclose(x_0.mean(0), mean, atol=0.04)
    np.testing.assert_allclose(np.cov(x_0.numpy().T), cov, atol=0.1 if sampler == "sde" else 0.05)
    if sees_source:
        coupling = np.cov(x_0.numpy().T, x_T.numpy().T)[:2, 2:]
        np.testing.assert_allclose(coupling, w.cov[:2, 2:4], atol=0.05)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_samplers_declare_their_calls(sampler):
    model, calls = exact_teacher("linear", world(False), "velocity"), []

    def field(x, t):
        calls.append(float(t))
        return model.estimate(x, as_batch(t, x))

    SAMPLERS[sampler](field, torch.zeros(2, 1).double(), LinearPath().grid(7), torch.randn_like)
    assert len(calls) == SAMPLERS[sampler].calls(7)
    assert min(calls) > 0  # no network is asked at the end, where data is clean


def test_a_start_that_gives_data_away_is_refused():
    model = exact_teacher("interpolant linear sin2 coupled", world(True), "velocity", sees_source=True)
    with pytest.raises(ConfigError, match="noise fades faster than data"):
        sample_teacher(model, torch.zeros(2, 1).double(), 5)


def small_model(path: str = "linear", **settings) -> MatchingModel:
    torch.manual_seed(0)
    return MatchingModel(MLP(3, width=16, depth=1, **settings), make_path(path))


@pytest.mark.parametrize("sampler", [None, "sde", "ancestral"])
def test_samples_do_not_depend_on_the_batch(sampler):
    model = small_model("vp")
    whole = torch.cat(list(generate(model, 10, steps=4, sampler=sampler, seed=5, batch=10)))
    parts = torch.cat(list(generate(model, 10, steps=4, sampler=sampler, seed=5, batch=3)))
    np.testing.assert_allclose(whole, parts, rtol=1e-4, atol=1e-6)
    other = torch.cat(list(generate(model, 10, steps=4, sampler=sampler, seed=6)))
    assert (whole - other).abs().min() > 1e-4


def test_path_chooses_the_sampler():
    z = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    for path, sampler in (("linear", "euler"), ("vp", "ddim")):
        model = small_model(path)
        assert torch.equal(sample_teacher(model, z, 5), sample_teacher(model, z, 5, sampler=sampler))
    assert torch.equal(
        sample_teacher(small_model(), z, 5, sampler=SAMPLERS["heun"]),
        sample_teacher(small_model(), z, 5, sampler="heun"),
    )


def test_labels_and_source_travel_together():
    model = small_model("brownian_bridge", num_classes=2, sees_source=True)
    x_T = torch.ones(4, 3)
    torch.manual_seed(0)
    zeros = sample_teacher(model, x_T, 3, Condition(label=torch.zeros(4, dtype=torch.long)))
    torch.manual_seed(0)
    ones = sample_teacher(model, x_T, 3, Condition(label=torch.ones(4, dtype=torch.long)))
    assert (zeros - ones).abs().max() > 1e-3


def test_generators_need_one_call():
    generator = Generator(small_model())
    z = torch.cat(list(generate(generator, 5, seed=3)))
    assert z.shape == (5, 3)


@pytest.mark.parametrize(
    ("sampler", "steps", "message"),
    [("eulr", 5, "Did you mean 'euler'"), ("euler", 0, "steps = 0: allowed are whole")],
)
def test_wrong_requests_are_refused(sampler, steps, message):
    with pytest.raises(ConfigError, match=message):
        sample_teacher(small_model(), torch.zeros(2, 3), steps, sampler=sampler)


def test_ddim_refuses_a_bridge_that_does_not_see_its_source():
    model = exact_teacher("brownian", world(True), "data_prediction", sees_source=False)
    with pytest.raises(PredictionError, match=r"keeps x_T in place.*'ancestral'"):
        sample_teacher(model, torch.zeros(2, 1).double(), 5, sampler="ddim")
