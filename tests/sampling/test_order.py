"""Samplers converge to the exact flow, or to the exact moments, at the order that they declare.

Here between two times inside a path, where errors go to zero; up to its ends in test_whole_grid.py.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from exact import exact_teacher, marginal
from oracles import FAMILIES, world

from realuid.models import Condition
from realuid.sampling import SAMPLERS, as_batch, ddim, reverse_diffusion, sde

SOURCE_AT = 0.8

#: One of each kind of path.
NAMES = [
    *("linear", "trigonometric", "vp", "cosine", "ddpm linear", "ve", "brownian", "i2sb", "vp bridge", "ve bridge"),
    *("interpolant linear sqrt free", "interpolant trigonometric sin2 free"),
    *("interpolant linear sin2 coupled", "interpolant trigonometric sqrt coupled"),
]
# networks that do not see x_T: bridges by their data prediction, interpolants by velocity and both
UNSEEN = [
    (sampler, name, prediction)
    for name in NAMES
    if FAMILIES[name].coupled
    for sampler, prediction in (
        ("euler", "velocity"),
        ("heun", "velocity"),
        ("sde", "velocity_and_noise"),
        *([("ancestral", "data_prediction")] if FAMILIES[name].markov else []),
    )
]


def field_of(name: str, prediction: str, sees_source: bool):
    model = exact_teacher(name, world(FAMILIES[name].coupled), prediction, sees_source)

    def field(x, t):
        x_T = torch.full_like(x, SOURCE_AT) if sees_source else None
        return model.estimate(x, as_batch(t, x), Condition(x_T=x_T))

    return field


def span(name: str) -> tuple[float, float]:
    """From where to where to sample; I2SB's beta has a kink at 1/2."""
    return (0.4504, 0.1004) if name == "i2sb" else (0.9004, 0.2504)


def no_noise(x):
    raise AssertionError("an ODE sampler drew noise")


def check_order(order: int, error_of) -> None:
    """Errors at n and 2 n steps differ by 2^order."""
    steps = 64 * order
    coarse, fine = error_of(steps), error_of(2 * steps)
    assert np.log2(coarse / fine) == pytest.approx(order, abs=0.2), (coarse, fine)
    assert fine < 0.02


def flow_error(sampler, field, name: str, x_T: float | None, steps: int) -> float:
    """Distance to the exact solution of the ODE, which keeps quantiles: (x - mean) / std is constant."""
    w = world(FAMILIES[name].coupled)
    (m0, s0), (m1, s1) = (marginal(name, w, t, x_T) for t in span(name))
    x = torch.tensor([[-1.5], [0.3], [2.0]], dtype=torch.float64) * s0 + m0
    times = torch.linspace(*span(name), steps + 1, dtype=torch.float64)
    return float((sampler(field, x, times, no_noise) - ((x - m0) / s0 * s1 + m1)).abs().max())


def moment_error(sampler, field, name: str, x_T: float | None, steps: int) -> float:
    """Error of mean and variance, exactly: a sampler of a linear field is linear in x and in every noise it draws.

    Row 0 of the batch takes zeros, row 1 a unit start, row 2 + i a unit i-th noise: the rows give all coefficients.
    """
    w = world(FAMILIES[name].coupled)
    (m0, s0), (m1, s1) = (marginal(name, w, t, x_T) for t in span(name))
    drawn = []

    def impulse(x):
        xi = torch.zeros_like(x)
        xi[2 + len(drawn)] = 1
        drawn.append(xi)
        return xi

    x = torch.zeros(steps + 2, 1, dtype=torch.float64)
    x[1] = 1
    out = sampler(field, x, torch.linspace(*span(name), steps + 1, dtype=torch.float64), impulse)[:, 0]
    assert len(drawn) == steps
    gains = out[1:] - out[0]
    mean, var = out[0] + gains[0] * m0, (gains[0] * s0) ** 2 + (gains[1:] ** 2).sum()
    return abs(float(mean) - m1) + abs(float(var) - s1**2)


@pytest.mark.parametrize("sampler", ["euler", "heun", "ddim"])
@pytest.mark.parametrize("name", NAMES)
def test_order_of_ode_samplers(sampler, name):
    sees_source = FAMILIES[name].coupled
    x_T, field = SOURCE_AT if sees_source else None, field_of(name, "data_prediction", sees_source)
    check_order(SAMPLERS[sampler].order, lambda steps: flow_error(SAMPLERS[sampler], field, name, x_T, steps))


STOCHASTIC = {
    "ancestral": SAMPLERS["ancestral"],
    "sde": SAMPLERS["sde"],
    "sde, reverse": partial(sde, diffusion=reverse_diffusion),
    "sde, constant": partial(sde, diffusion=lambda path, k: torch.full_like(k.t, 0.5)),
    "ddim, eta 0.5": partial(ddim, eta=0.5),
}


@pytest.mark.parametrize("sampler", STOCHASTIC)
@pytest.mark.parametrize("name", NAMES)
def test_weak_order_of_sde_samplers(sampler, name):
    sees_source = FAMILIES[name].coupled
    x_T, field = SOURCE_AT if sees_source else None, field_of(name, "data_prediction", sees_source)
    check_order(1, lambda steps: moment_error(STOCHASTIC[sampler], field, name, x_T, steps))


@pytest.mark.parametrize(("sampler", "name", "prediction"), UNSEEN)
def test_order_without_the_source(sampler, name, prediction):
    error_of = flow_error if sampler in ("euler", "heun") else moment_error
    field = field_of(name, prediction, sees_source=False)
    check_order(SAMPLERS[sampler].order, lambda steps: error_of(SAMPLERS[sampler], field, name, None, steps))
