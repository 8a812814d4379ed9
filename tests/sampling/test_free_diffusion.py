"""The SDE with any multiple of its diffusion: same data, and the ODE where there is none."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from exact import exact_teacher
from oracles import world

import realuid
from realuid.errors import ConfigError
from realuid.models import Generator, MatchingModel
from realuid.models.networks.own import OwnNetwork
from realuid.paths import LinearPath
from realuid.recipes import EvaluateConfig
from realuid.recipes.evaluate import calls_of
from realuid.sampling import SAMPLERS, find_sampler, generate, sample_teacher


def flow(f=lambda x, t: x) -> MatchingModel:
    return MatchingModel(OwnNetwork(f, shape=(2,)), LinearPath())


@pytest.mark.parametrize("factor", [0.3, 1.0, 2.5])
def test_any_diffusion_leads_to_the_data(factor):
    w = world(False)
    random = torch.Generator().manual_seed(0)

    def noise(x):
        return torch.randn(x.shape, dtype=x.dtype, generator=random)

    x_0 = sample_teacher(
        exact_teacher("linear", w, "velocity"),
        torch.randn(8_000, 1, dtype=torch.float64, generator=random),
        200,
        sampler=f"sde:{factor}",
        noise=noise,
    )
    mean, cov = w.moments((1, 0, 0))
    assert float(x_0.mean()) == pytest.approx(float(mean[0]), abs=0.04)
    assert float(x_0.var()) == pytest.approx(float(cov[0, 0]), rel=0.06)


def test_without_diffusion_it_is_eulers_method_and_with_all_of_it_the_usual_one():
    model, x_T = exact_teacher("linear", world(False), "velocity"), torch.randn(4, 1, dtype=torch.float64)

    def out(sampler: str) -> np.ndarray:
        random = torch.Generator().manual_seed(3)
        return sample_teacher(
            model, x_T, 9, sampler=sampler, noise=lambda x: torch.randn(x.shape, dtype=x.dtype, generator=random)
        ).numpy()

    np.testing.assert_allclose(out("sde:0"), out("euler"), atol=1e-12)
    np.testing.assert_array_equal(out("sde:1"), out("sde"))
    assert np.abs(out("sde:0.5") - out("sde")).max() > 1e-3
    assert find_sampler("sde:0.5").calls(7) == 7 and find_sampler("sde:0.5").order == 1
    assert calls_of(model, EvaluateConfig(sampler="sde:2", steps=11)) == 11


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("sde:much", "the multiple of the diffusion must be a number from 0 on"),
        ("sde:-1", "the multiple of the diffusion must be a number from 0 on"),
        ("sde:inf", "the multiple of the diffusion must be a number from 0 on"),
        ("sde:", "the multiple of the diffusion must be a number from 0 on"),
        ("ddim:0.5", "only 'sde' takes a number"),
        ("sd:0.5", "unknown sampler 'sd'. Did you mean 'sde'?"),
    ],
)
def test_other_names_are_refused(name, says):
    with pytest.raises(ConfigError, match=says.replace("?", r"\?")):
        EvaluateConfig(sampler=name)


def test_the_interface_samples_with_it_and_refuses_it_for_generators():
    model = flow()
    got = realuid.sample(model, 3, steps=4, sampler="sde:0.5", seed=1)
    assert torch.equal(got, torch.cat(list(generate(model, 3, steps=4, sampler="sde:0.5", seed=1))))
    assert not torch.equal(got, realuid.sample(model, 3, steps=4, sampler="sde", seed=1))
    for asked in ({"sampler": "sde"}, {"guidance": 2.0}):
        with pytest.raises(ConfigError, match="the model is a student, which has no sampler"):
            realuid.sample(Generator(model), 3, **asked)
    with pytest.raises(ConfigError, match="guidance = 2: the model was not trained without labels"):
        realuid.sample(model, 3, guidance=2.0)
    assert find_sampler("heun") is SAMPLERS["heun"]
