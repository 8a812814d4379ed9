"""Different names for the same thing: bridges that are diffusions, interpolants that are bridges."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from oracles import World, world

from realuid.paths import BrownianBridge, I2SBBridge, InterpolantPath, VEBridge, VPBridge, VPPath, convert

T = torch.tensor([0.1, 0.3504, 0.5, 0.7004, 0.95], dtype=torch.float64)


def independent(d: int) -> World:
    return world(False, d)


@pytest.mark.parametrize("s", [0.4, 1.0])
def test_an_interpolant_from_independent_noise_is_a_diffusion(s):
    """x_t = (1 - t) x_0 + b n with b^2 = t^2 + s^2 t (1 - t): same data prediction, velocity and score."""
    path = InterpolantPath(noise=s / math.sqrt(2))  # gamma = s sqrt(t (1 - t)), source N(0, I)
    for t in T:
        a, b2 = 1 - float(t), float(t) ** 2 + s**2 * float(t) * (1 - float(t))
        b_dot = (2 * float(t) + s**2 * (1 - 2 * float(t))) / (2 * math.sqrt(b2))
        diffusion = (a, math.sqrt(b2), 0.0)
        x = np.linspace(-3, 3, 7)[:, None]
        x_t = torch.from_numpy(x)
        k = path.coefficients(t.repeat(7)).expand(x_t)
        expected = {}
        for name, wanted in {
            "data_prediction": (1, 0, 0),
            "velocity": (-1, b_dot, 0),
            "score": (0, -1 / math.sqrt(b2), 0),
        }.items():
            gain, offset = independent(1).regress(wanted, diffusion)
            expected[name] = x @ gain.T + offset
        data = torch.from_numpy(expected["data_prediction"])
        for name in ("velocity", "score"):
            np.testing.assert_allclose(
                convert(data, "data_prediction", name, path, k, x_t), expected[name], rtol=1e-9, atol=1e-9
            )


def same(one, other, *, squeeze=lambda t: t) -> None:
    k, m = one.coefficients(T), other.coefficients(squeeze(T))
    for part in ("a", "b", "c"):
        np.testing.assert_allclose(getattr(k, part), getattr(m, part), rtol=1e-9)


def test_coupled_linear_interpolant_is_a_brownian_bridge():
    same(BrownianBridge(noise=0.6), InterpolantPath(noise=0.6 / math.sqrt(2), coupled=True))


def test_ve_bridge_is_a_brownian_bridge_in_squared_time():
    same(VEBridge(sigma_max=0.6), BrownianBridge(noise=0.6), squeeze=lambda t: t**2)


def test_i2sb_with_constant_beta_is_a_brownian_bridge():
    same(I2SBBridge(beta_min=0.36, beta_max=0.36), BrownianBridge(noise=0.6))


def test_vp_bridge_pinned_at_its_own_noise_is_vp_diffusion():
    """Averaged over an end x_T = alpha_1 x_0 + sigma_1 noise, where the free process would end, nothing is pinned."""
    bridge, free = VPBridge(beta_min=0.1, beta_d=2.0), VPPath(beta_min=0.1, beta_d=2.0)
    k, end, m = bridge.coefficients(T), free.coefficients(torch.ones(1, dtype=torch.float64)), free.coefficients(T)
    np.testing.assert_allclose(k.a + k.b * end.a, m.a, rtol=1e-9)
    np.testing.assert_allclose((k.b * end.b) ** 2 + k.c**2, m.b**2, rtol=1e-9)


@pytest.mark.parametrize("bridge", [BrownianBridge(0.7), I2SBBridge(), VPBridge(), VEBridge(2.0)])
def test_bridges_are_markov(bridge):
    """c^2 / (a b) is one number, so that the drift towards data does not involve x_T."""
    k = bridge.coefficients(T)
    ratio = k.c**2 / (k.a * k.b)
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-9)
