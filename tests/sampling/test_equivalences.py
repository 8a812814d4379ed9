"""Gaussian paths are one model under a change of time and scale; DDIM and DDPM are those of the literature."""

from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler

from realuid.paths import PATHS, DDPMPath, Estimate, LinearPath, make_path
from realuid.sampling import ancestral, as_batch, ddim, euler, heun

GAUSSIAN = [name for name, path in PATHS.items() if not path.has_eps]
SIGMAS = np.geomspace(40, 0.05, 25)


def mixture_denoiser(y: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """E[x_0 | x_0 + sigma noise = y] for data at -1 and 0.5 (probability 0.3 and 0.7), each of spread 0.2."""
    variance = 0.04 + sigma**2
    centres, weights = (-1.0, 0.5), (0.3, 0.7)
    logits = [np.log(w) - (y - m) ** 2 / (2 * variance) for m, w in zip(centres, weights, strict=True)]
    shares = torch.softmax(torch.stack(logits), 0)
    means = torch.stack([m + 0.04 / variance * (y - m) for m in centres])
    return (shares * means).sum(0)


def field_on(path):
    """One denoiser of x_0 + sigma noise, wrapped for a path."""

    def field(x, t):
        k = path.coefficients(as_batch(t, x)).expand(x)
        return Estimate(mixture_denoiser(x / k.a, k.b / k.a), "data_prediction", path, k, x)

    return field


def times_on(path, sigmas) -> torch.Tensor:
    return torch.tensor([*(path.time_at_noise_ratio(s) for s in sigmas), 0.0], dtype=torch.float64)


def start_on(path, times) -> torch.Tensor:
    k = path.coefficients(times[:1])
    return k.a * SIGMAS[0] * torch.tensor([[-1.2], [-0.1], [0.05], [0.9]], dtype=torch.float64)


def reference() -> torch.Tensor:
    """DDIM in the variables of Song et al. 2021, eq. 14: y' = y + (sigma' - sigma) noise."""
    y, sigmas = torch.tensor([[-1.2], [-0.1], [0.05], [0.9]], dtype=torch.float64) * SIGMAS[0], [*SIGMAS, 0.0]
    for sigma, following in itertools.pairwise(sigmas):
        y = y + (following - sigma) * (y - mixture_denoiser(y, torch.tensor(sigma))) / sigma
    return y


@pytest.mark.parametrize("name", GAUSSIAN)
def test_ddim_makes_the_same_samples_on_every_gaussian_path(name):
    path = make_path(name)
    times = times_on(path, SIGMAS)
    x = ddim(field_on(path), start_on(path, times), times, torch.randn_like)
    np.testing.assert_allclose(x, reference(), rtol=1e-6, atol=1e-6)
    assert np.ptp(reference().numpy()) > 1  # both modes are there


@functools.cache
def flow(name: str, steps: int) -> torch.Tensor:
    """Heun's method from sigma = 5 to 0.2, read off as x / a."""
    path = make_path(name)
    times = times_on(path, np.geomspace(5, 0.2, steps))[:-1]
    k, k_end = path.coefficients(times[:1]), path.coefficients(times[-1:])
    y = torch.tensor([[-1.2], [-0.1], [0.05], [0.9]], dtype=torch.float64) * 5
    return heun(field_on(path), k.a * y, times, torch.randn_like) / k_end.a


@pytest.mark.parametrize("name", GAUSSIAN)
def test_the_flow_is_the_same_on_every_gaussian_path(name):
    """Heun's method on finer and finer grids, against the linear path on a finer one still."""
    errors = [float((flow(name, steps) - flow("linear", 401)).abs().max()) for steps in (26, 101)]
    assert errors[1] < 2e-3 and errors[1] < errors[0] / 9  # 16-fold, but for the error of the reference


def test_ddim_is_euler_on_the_linear_path():
    path = LinearPath()
    times, x = path.grid(10), torch.tensor([[-0.4], [1.3]], dtype=torch.float64)

    def field(x, t):
        k = path.coefficients(as_batch(t, x)).expand(x)
        return Estimate(torch.tanh(3 * x) - t, "velocity", path, k, x)

    np.testing.assert_allclose(ddim(field, x, times, None), euler(field, x, times, None), rtol=1e-9)


@pytest.mark.parametrize("prediction", ["epsilon", "sample", "v_prediction"])
@pytest.mark.parametrize("eta", [0.0, 0.6])
def test_ddim_is_that_of_diffusers(prediction, eta):
    ours = {"epsilon": "noise_prediction", "sample": "data_prediction", "v_prediction": "v_prediction"}[prediction]
    scheduler = DDIMScheduler(prediction_type=prediction, clip_sample=False, timestep_spacing="trailing")
    scheduler.set_timesteps(20)
    x, path = torch.tensor([[-0.4], [1.3], [0.2]], dtype=torch.float64), DDPMPath()
    theirs, noises = x, list(torch.randn(20, 3, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))
    for step, noise in zip(scheduler.timesteps, noises, strict=True):
        output = torch.tanh(2 * theirs) * 0.7 - step / 3000
        theirs = scheduler.step(output, step, theirs, eta=eta, variance_noise=noise if eta else None).prev_sample

    def field(x, t):
        k = path.coefficients(as_batch(t, x)).expand(x)
        return Estimate(torch.tanh(2 * x) * 0.7 - (1000 * t - 1) / 3000, ours, path, k, x)

    queue = iter(noises)
    mine = ddim(field, x, path.grid(20), lambda x: next(queue), eta)
    np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-4)  # their table is a product of float32 numbers


def test_ancestral_sampling_is_that_of_ddpm():
    scheduler = DDPMScheduler(clip_sample=False, timestep_spacing="trailing")
    scheduler.set_timesteps(20)
    path, x = DDPMPath(), torch.tensor([[-0.4], [1.3], [0.2]], dtype=torch.float64)
    theirs = x
    for step in scheduler.timesteps:
        output = torch.tanh(2 * theirs) * 0.7
        generator = torch.Generator().manual_seed(int(step))
        theirs = scheduler.step(output, step, theirs, generator=generator).prev_sample

    def field(x, t):
        k = path.coefficients(as_batch(t, x)).expand(x)
        return Estimate(torch.tanh(2 * x) * 0.7, "noise_prediction", path, k, x)

    steps = iter(scheduler.timesteps)

    def noise(x):
        return torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(int(next(steps))))

    np.testing.assert_allclose(ancestral(field, x, path.grid(20), noise), theirs, rtol=1e-4, atol=1e-4)
