"""The reverse SDE's diffusion is that of the process itself, and its drift what bridge matching regresses on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from oracles import FAMILIES, free_scale, free_variance, slope

from realuid.paths import BrownianBridge, Estimate, make_path
from realuid.sampling import as_batch, noise_diffusion, reverse_diffusion, sde

#: g(t)^2 of dx = f x dt + g dw, family by family.
SQUARED_DIFFUSION = {
    "linear": lambda t: 2 * t / (1 - t),
    "vp": lambda t: 0.1 + 19.9 * t,
    "ve": lambda t: 2 * t,
    "brownian": lambda t: 0.7**2,
    "i2sb": lambda t: (0.1**0.5 + (0.3**0.5 - 0.1**0.5) * 2 * min(t, 1 - t)) ** 2,
    "vp bridge": lambda t: 0.1 + 2 * t,
    "ve bridge": lambda t: 2 * 2**2 * t,
}


def half_g_squared(name: str) -> torch.Tensor:
    """The library's e at the family's times."""
    family = FAMILIES[name]
    path = make_path(family.path, **family.settings)
    return reverse_diffusion(path, path.coefficients(torch.tensor(family.times, dtype=torch.float64)))


@pytest.mark.parametrize("name", SQUARED_DIFFUSION)
def test_reverse_diffusion_is_half_of_g_squared(name):
    expected = [SQUARED_DIFFUSION[name](t) / 2 for t in FAMILIES[name].times]
    np.testing.assert_allclose(half_g_squared(name), expected, rtol=1e-9)


@pytest.mark.parametrize("name", [name for name, family in FAMILIES.items() if family.markov])
def test_bridges_reverse_the_process_that_they_pin(name):
    """dVar/dt = 2 f Var + g^2, for the process left free."""
    alpha, var = free_scale(FAMILIES[name]), free_variance(FAMILIES[name])

    def log_scale(t):
        return np.log(alpha(t))

    g2 = [slope(var, t, True) - 2 * slope(log_scale, t, True) * var(t) for t in FAMILIES[name].times]
    np.testing.assert_allclose(half_g_squared(name), np.array(g2) / 2, rtol=1e-6)


def test_it_is_zero_where_no_diffusion_fits():
    path = make_path("interpolant", gamma="sin2", coupled=True)
    t = torch.tensor([0.3, 0.95], dtype=torch.float64)
    early, late = reverse_diffusion(path, path.coefficients(t))
    assert early > 0 and late == 0


def test_noise_diffusion_is_the_noise_in_x_t():
    for name in ("linear", "vp", "brownian", "interpolant linear sqrt free"):
        family = FAMILIES[name]
        path = make_path(family.path, **family.settings)
        _, b, c = family.abc(0.3504)
        expected = c if family.coupled else np.hypot(b, c)
        k = path.coefficients(torch.tensor([0.3504], dtype=torch.float64))
        assert float(noise_diffusion(path, k)) == pytest.approx(expected, rel=1e-9)


def test_a_step_of_the_reverse_bridge():
    """Bridge matching: dx = (x_t - E[x_0 | x_t, x_T]) / t dt + s dw, run backwards in the angle u, t = sin^2(u)."""
    path, s = BrownianBridge(noise=0.7), 0.7
    x, x_T, guess = (torch.tensor([[v]], dtype=torch.float64) for v in (0.3, -1.1, 0.9))

    def field(x, t):
        k = path.coefficients(as_batch(t, x)).expand(x)
        return Estimate(guess, "data_prediction", path, k, x, x_T)

    times = torch.tensor([0.6, 0.5], dtype=torch.float64)
    out = sde(field, x, times, lambda x: torch.full_like(x, 1.7), reverse_diffusion)
    u, u_next = np.arcsin(np.sqrt(0.6)), np.arcsin(np.sqrt(0.5))
    step = np.sin(2 * u) * (u - u_next)
    assert step == pytest.approx(0.1, abs=2e-3)
    assert float(out) == pytest.approx(0.3 - step * (0.3 - 0.9) / 0.6 + s * np.sqrt(0.1) * 1.7, rel=1e-9)
