"""Textbook formulas of EDM in plain floats. Never imports the library."""

from __future__ import annotations

import math


def karras_grid(steps: int, low: float = 0.002, high: float = 80.0, rho: float = 7.0) -> list[float]:
    """Noise levels of Karras et al. 2022, eq. 5, and a final 0."""
    if steps == 1:
        return [high, 0.0]
    first, last = high ** (1 / rho), low ** (1 / rho)
    return [*((first + i / (steps - 1) * (last - first)) ** rho for i in range(steps)), 0.0]


def edm_scales(sigma: float, s: float = 0.5) -> tuple[float, float, float, float]:
    """c_skip, c_out, c_in, c_noise of EDM (Table 1, last column)."""
    r = math.sqrt(sigma * sigma + s * s)
    return s * s / (r * r), sigma * s / r, 1 / r, math.log(sigma) / 4


def vp_sigma(t: float, beta_d: float = 19.9, beta_min: float = 0.1) -> float:
    """Noise level of the VP process at its own time t."""
    return math.sqrt(math.exp(beta_d * t * t / 2 + beta_min * t) - 1)


def vp_scales(sigma: float, steps: int = 1000) -> tuple[float, float, float, float]:
    """c_skip, c_out, c_in, c_noise of VP (Table 1, first column); the time is found by bisection."""
    low, high = 0.0, 2.0
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if vp_sigma(middle) < sigma else (low, middle)
    return 1.0, -sigma, 1 / math.sqrt(sigma * sigma + 1), (steps - 1) * low


def ve_scales(sigma: float) -> tuple[float, float, float, float]:
    """c_skip, c_out, c_in, c_noise of VE (Table 1, second column)."""
    return 1.0, sigma, 1.0, math.log(sigma / 2)


def iddpm_levels(steps: int = 1000, c_1: float = 0.001, c_2: float = 0.008) -> list[float]:
    """Noise levels u_0, ..., u_M of iDDPM (Table 1, third column), from the cosine schedule's products of 1 - beta."""
    betas = []
    for j in range(steps, 0, -1):  # beta of the step from u_j, which has more noise for smaller j
        before, after = (math.sin(math.pi / 2 * i / (steps * (1 + c_2))) ** 2 for i in (j, j - 1))
        betas.append(1 - max(after / before, c_1))
    levels, kept = [0.0], 1.0
    for beta in betas:
        kept *= 1 - beta
        levels.append(math.sqrt((1 - kept) / kept))
    return levels[::-1]


def iddpm_scales(sigma: float) -> tuple[float, float, float, float]:
    """c_skip, c_out, c_in, c_noise of iDDPM (Table 1, third column)."""
    levels = iddpm_levels()
    nearest = min(range(len(levels)), key=lambda j: abs(levels[j] - sigma))
    return 1.0, -sigma, 1 / math.sqrt(sigma * sigma + 1), len(levels) - 2 - nearest


def edm_weight(sigma: float, s: float = 0.5) -> float:
    """EDM's loss weight, which is 1 / c_out^2."""
    return 1 / edm_scales(sigma, s)[1] ** 2


def normal_cdf(x: float) -> float:
    """Distribution function of N(0, 1)."""
    return math.erfc(-x / math.sqrt(2)) / 2


def gaussian_posterior_mean(x_t: float, sigma: float, mean: float, std: float) -> float:
    """E[x_0 | x_t] for x_0 ~ N(mean, std^2), x_t = x_0 + sigma eps."""
    return mean + std * std / (std * std + sigma * sigma) * (x_t - mean)


def gaussian_ode_map(x: float, sigma: float, mean: float, std: float) -> float:
    """Where the exact probability-flow ODE takes x from noise level sigma to 0, for data N(mean, std^2)."""
    return mean + (x - mean) * std / math.sqrt(std * std + sigma * sigma)
