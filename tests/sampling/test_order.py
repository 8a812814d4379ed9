"""Samplers converge to the exact flow, or to the exact moments, at the order that they declare.

In two correlated dimensions, between two times inside a path, where errors go to zero; up to its ends see
test_whole_grid.py.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from exact import exact_teacher, gaussian
from oracles import FAMILIES, targets, world
from scipy import integrate, linalg

from realuid.models import Condition
from realuid.sampling import SAMPLERS, as_batch, ddim, reverse_diffusion, sde

SOURCE_AT = np.array([0.8, -0.4])

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
    model = exact_teacher(name, world(FAMILIES[name].coupled, 2), prediction, sees_source)

    def field(x, t):
        x_T = torch.from_numpy(SOURCE_AT).expand_as(x) if sees_source else None
        return model.estimate(x, as_batch(t, x), Condition(source=x_T))

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
    assert fine < 0.03


def root(cov: np.ndarray) -> np.ndarray:
    return np.real(linalg.sqrtm(cov))


def flow_map(name: str, x: np.ndarray, x_T: np.ndarray | None) -> np.ndarray:
    """The exact solution of the ODE.

    Where all noise is isotropic, covariances at all times have the same axes and quantiles are kept along each. Where
    x_T is part of the noise they turn, and the linear ODE of the oracle's own velocity is solved finely.
    """
    w, (start, end) = world(FAMILIES[name].coupled, 2), span(name)
    if x_T is not None or not FAMILIES[name].coupled:
        (m0, cov0), (m1, cov1) = (gaussian(name, w, t, x_T) for t in (start, end))
        return m1 + (x - m0) @ np.linalg.inv(root(cov0)) @ root(cov1)

    def velocity(t, flat):
        gain, offset = w.regress(targets(FAMILIES[name], t)["velocity"], FAMILIES[name].abc(t))
        return (flat.reshape(-1, 2) @ gain.T + offset).ravel()

    solution = integrate.solve_ivp(velocity, (start, end), x.ravel(), method="DOP853", rtol=1e-9, atol=1e-11)
    return solution.y[:, -1].reshape(-1, 2)


def flow_error(sampler, field, name: str, x_T: np.ndarray | None, steps: int) -> float:
    """Greatest distance to the exact solution of the ODE."""
    mean, cov = gaussian(name, world(FAMILIES[name].coupled, 2), span(name)[0], x_T)
    x = np.array([[-1.5, 0.4], [0.3, 1.0], [2.0, -0.7]]) @ root(cov) + mean
    times = torch.linspace(*span(name), steps + 1, dtype=torch.float64)
    return float(np.abs(sampler(field, torch.from_numpy(x), times, no_noise).numpy() - flow_map(name, x, x_T)).max())


def moment_error(sampler, field, name: str, x_T: np.ndarray | None, steps: int) -> float:
    """Error of mean and covariance, exactly: a sampler of a linear field is linear in x and in every noise it draws.

    Row 0 of the batch takes zeros, rows 1 and 2 a unit start, and two more for every step a unit noise: the rows give
    all coefficients.
    """
    w = world(FAMILIES[name].coupled, 2)
    (m0, cov0), (m1, cov1) = (gaussian(name, w, t, x_T) for t in span(name))
    drawn = []

    def impulse(x):
        xi, first = torch.zeros_like(x), 3 + 2 * len(drawn)
        xi[first : first + 2] = torch.eye(2)
        drawn.append(xi)
        return xi

    x = torch.zeros(2 * steps + 3, 2, dtype=torch.float64)
    x[1:3] = torch.eye(2)
    out = sampler(field, x, torch.linspace(*span(name), steps + 1, dtype=torch.float64), impulse).numpy()
    assert len(drawn) == steps
    by_start, by_noise = (out[1:3] - out[0]), out[3:] - out[0]
    mean, cov = out[0] + m0 @ by_start, by_start.T @ cov0 @ by_start + by_noise.T @ by_noise
    return float(np.abs(mean - m1).max() + np.abs(cov - cov1).max())


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
