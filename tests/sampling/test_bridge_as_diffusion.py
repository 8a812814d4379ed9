"""A Brownian bridge from independent noise, of a network that never sees it, is an ordinary diffusion.

x_t = (1 - t) x_0 + t x_T + s sqrt(t (1 - t)) eps with x_T, eps ~ N(0, I) has the law of (1 - t) x_0 + b_eff n,
b_eff^2 = t^2 + s^2 t (1 - t): same moments, predictions and samples, on either path's own coefficients.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch
from exact import ExactNetwork
from oracles import FAMILIES, Family, world

from realuid.models import MatchingModel, Plain
from realuid.paths import BrownianBridge, Coefficients, PinnedPath
from realuid.sampling import as_batch, euler, heun, sde

S, DATA = 0.7, world(False, 2)
TIMES = (0.1004, 0.3504, 0.7004, 0.9004)


def b_eff(t: float) -> float:
    return (t**2 + S**2 * t * (1 - t)) ** 0.5


@dataclass(frozen=True)
class Diffusion(PinnedPath):
    """(1 - t) x_0 + b_eff x_T, on the bridge's grid."""

    name: ClassVar[str] = "equivalent diffusion"
    default_prediction: ClassVar[str] = "data_prediction"
    has_eps: ClassVar[bool] = False

    def coefficients(self, t: torch.Tensor) -> Coefficients:
        b, zero, one = (t**2 + S**2 * t * (1 - t)).sqrt(), torch.zeros_like(t), torch.ones_like(t)
        slope = (2 * t + S**2 * (1 - 2 * t)) / (2 * b.clamp(min=1e-9))
        return Coefficients(t=t, a=1 - t, b=b, c=zero, a_dot=-one, b_dot=slope, c_dot=zero)


DIFFUSION = Family("equivalent diffusion", lambda t: (1 - t, b_eff(t), 0.0))
BRIDGE, ORDINARY = (
    MatchingModel(ExactNetwork(family, DATA, prediction, False), path, prediction, Plain(time_scale=1.0))
    for family, path, prediction in (
        (FAMILIES["brownian"], BrownianBridge(noise=S), "velocity_and_noise"),
        (DIFFUSION, Diffusion(), "data_prediction"),
    )
)


@pytest.mark.parametrize("t", TIMES)
def test_moments_are_the_diffusions(t: float) -> None:
    """Of draws made with the bridge's own coefficients, whitened so that their moments are exact."""
    raw = np.random.default_rng(0).standard_normal((4096, 6))
    raw -= raw.mean(0)
    raw = raw @ np.linalg.inv(np.linalg.cholesky(raw.T @ raw / len(raw))).T
    x_0, x_T, eps = torch.from_numpy(raw @ np.linalg.cholesky(DATA.cov).T + DATA.mean).split(2, dim=1)
    x_t, _ = BRIDGE.path.sample(x_0, x_T, torch.full((len(raw),), t, dtype=torch.float64), eps)
    np.testing.assert_allclose(x_t.mean(0), (1 - t) * DATA.mean[:2], rtol=1e-9, atol=1e-12)
    expected = (1 - t) ** 2 * DATA.cov[:2, :2] + b_eff(t) ** 2 * np.eye(2)
    np.testing.assert_allclose(np.cov(x_t.numpy().T, bias=True), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("t", TIMES)
def test_predictions_are_the_diffusions(t: float) -> None:
    """Data, velocity and score: the bridge's E[-eps / c | x_t] is the score of x_t itself. And by hand."""
    x = torch.randn(7, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    times = torch.full((7,), t, dtype=torch.float64)
    bridge, ordinary = BRIDGE.estimate(x, times), ORDINARY.estimate(x, times)
    for prediction in ("data_prediction", "velocity", "score"):
        np.testing.assert_allclose(bridge[prediction], ordinary[prediction], rtol=1e-6, atol=1e-6)
    mean, cov = DATA.mean[:2], DATA.cov[:2, :2]
    inverse = np.linalg.inv((1 - t) ** 2 * cov + b_eff(t) ** 2 * np.eye(2))
    away = x.numpy() - (1 - t) * mean
    np.testing.assert_allclose(bridge["score"], -away @ inverse, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(bridge["data_prediction"], mean + (1 - t) * away @ inverse @ cov, rtol=1e-6, atol=1e-6)


def samples(sampler, model: MatchingModel, times: torch.Tensor, x: torch.Tensor, **settings) -> torch.Tensor:
    """With noise that depends on nothing but its turn."""
    random = torch.Generator().manual_seed(0)

    def noise(x):
        return torch.randn(x.shape, dtype=x.dtype, generator=random)

    return sampler(lambda x, t: model.estimate(x, as_batch(t, x)), x, times, noise, **settings)


X = torch.tensor([[-1.5, 0.4], [0.3, 1.0], [2.0, -0.7]], dtype=torch.float64)


@pytest.mark.parametrize("sampler", [euler, heun, sde], ids=["euler", "heun", "sde"])
def test_samples_are_the_diffusions(sampler) -> None:
    """Step by step from noise to data; the SDE is the bridge's own, e = s^2 / 2."""
    settings = {"diffusion": lambda path, k: torch.full_like(k.t, S**2 / 2)} if sampler is sde else {}
    times = BRIDGE.path.grid(40)
    bridge, ordinary = (samples(sampler, model, times, X, **settings) for model in (BRIDGE, ORDINARY))
    np.testing.assert_allclose(bridge, ordinary, rtol=1e-6, atol=1e-6)
    assert (bridge - X).abs().max() > 0.5


def test_the_ode_solved_finely_is_the_diffusions_flow() -> None:
    """Covariances at all times have the same axes, so x_T = z ends where the data has the quantiles of z."""
    values, axes = np.linalg.eigh(DATA.cov[:2, :2])
    start = axes @ np.diag((1e-8 * values + b_eff(1 - 1e-4) ** 2) ** 0.5) @ axes.T
    data = axes @ np.diag(values**0.5) @ axes.T
    expected = DATA.mean[:2] + (X.numpy() - 1e-4 * DATA.mean[:2]) @ np.linalg.inv(start) @ data
    coarse, fine = (samples(heun, BRIDGE, BRIDGE.path.grid(steps), X) for steps in (400, 800))
    np.testing.assert_allclose(fine, expected, atol=2e-4)
    assert np.abs(fine - expected).max() < np.abs(coarse - expected).max() / 3
