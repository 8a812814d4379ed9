"""Every family's coefficients against its paper, their derivatives against finite differences, and its ends."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from oracles import FAMILIES, ddpm_table

from realuid.errors import ConfigError
from realuid.paths import PATHS, DDPMPath, InterpolantPath, LinearPath, VPPath, broadcast, make_path, path_from_config


def path_of(name: str):
    return make_path(FAMILIES[name].path, **FAMILIES[name].settings)


def test_every_path_has_an_oracle():
    assert {family.path for family in FAMILIES.values()} == set(PATHS)


@pytest.mark.parametrize("name", FAMILIES)
def test_coefficients_are_the_textbook_ones(name):
    path, family = path_of(name), FAMILIES[name]
    k = path.coefficients(torch.tensor(family.times, dtype=torch.float64))
    for i, t in enumerate(family.times):
        np.testing.assert_allclose([k.a[i], k.b[i], k.c[i]], family.abc(t), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose([k.a_dot[i], k.b_dot[i], k.c_dot[i]], family.dots(t), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("t", ["t_min", "t_max"])
def test_derivatives_are_exact_up_to_the_last_times(name, t):
    path = path_of(name)
    inward = 1 if t == "t_min" else -1
    h = 1e-7 * inward
    t = torch.tensor([getattr(path, t)], dtype=torch.float64)
    k, k1, k2 = (path.coefficients(t + step) for step in (0, h, 2 * h))
    for value, dot in (("a", "a_dot"), ("b", "b_dot"), ("c", "c_dot")):
        f = [float(getattr(c, value)) for c in (k, k1, k2)]
        assert float(getattr(k, dot)) == pytest.approx((-3 * f[0] + 4 * f[1] - f[2]) / (2 * h), rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_ends_are_data_and_source(name, dtype):
    path = path_of(name)
    k = path.coefficients(torch.tensor([0.0, 1.0], dtype=dtype))
    for part in dataclasses.fields(k):
        assert getattr(k, part.name).isfinite().all(), part.name
        assert getattr(k, part.name).dtype == dtype
    np.testing.assert_allclose([k.a[0], k.b[0], k.c[0]], [1, 0, 0], atol=1e-7)
    np.testing.assert_allclose([k.a[1], k.b[1], k.c[1]], FAMILIES[name].abc(1.0), atol=5e-4)  # sqrt of float32's 1e-7


@pytest.mark.parametrize("name", FAMILIES)
def test_sampling_grid_falls_from_source_to_data(name):
    path = path_of(name)
    grid = path.grid(50)
    assert grid.dtype == torch.float64 and grid.shape == (51,)
    assert float(grid[0]) == pytest.approx(path.t_max) and float(grid[-1]) == 0
    assert (grid.diff() < 0).all()
    assert grid[-2] >= path.t_min * 0.9


@pytest.mark.parametrize("name", FAMILIES)
def test_config_round_trip(name):
    path = path_of(name)
    assert path_from_config(json.loads(json.dumps(path.to_config()))) == path


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_training_times_fill_the_allowed_range(dtype):
    """EDM's, log-normal and of no range, are in test_ve.py."""
    uniform = torch.linspace(0, 1, 100_001, dtype=dtype)[:-1]
    for name in sorted(FAMILIES.keys() - {"ve"}):
        path = path_of(name)
        t = path.sample_time(uniform)
        assert t.dtype == dtype
        assert t.min() >= path.t_min - 1e-9 and t.max() <= path.t_max
        assert float(t.mean()) == pytest.approx((path.t_min + path.t_max) / 2, abs=1e-3)


# --- DDPM's grid ---


@pytest.mark.parametrize("kind", ["linear", "scaled_linear", "squaredcos_cap_v2"])
def test_ddpm_steps_are_the_checkpoints(kind):
    from diffusers import DDPMScheduler

    for n in (1000, 50):
        path = DDPMPath(beta_schedule=kind, num_train_timesteps=n)
        t = (torch.arange(n, dtype=torch.float64) + 1) / n
        a2 = path.coefficients(t).a.numpy() ** 2
        np.testing.assert_allclose(a2, ddpm_table(kind, n), rtol=1e-9)
        theirs = DDPMScheduler(n, beta_schedule=kind).alphas_cumprod.double().numpy()
        np.testing.assert_allclose(a2, theirs, rtol=2e-4, atol=1e-7)  # theirs is a product of n float32 numbers


def test_ddpm_takes_a_table():
    table = ddpm_table("linear", 40, 1e-3, 0.3)
    path = DDPMPath(num_train_timesteps=40, alphas_cumprod=list(table))
    t = (torch.arange(40, dtype=torch.float64) + 1) / 40
    np.testing.assert_allclose(path.coefficients(t).a.numpy() ** 2, table, rtol=1e-12)
    assert path == path_from_config(json.loads(json.dumps(path.to_config())))


def test_ddpm_survives_zero_terminal_snr():
    table = [*ddpm_table("linear", 40, 1e-3, 0.3)[:-1], 0.0]
    path = DDPMPath(num_train_timesteps=40, alphas_cumprod=table)
    k = path.coefficients(torch.linspace(0, 1, 4001, dtype=torch.float64))
    assert k.a[-1] == pytest.approx(2.0**-15)
    assert ((k.b / k.a).diff() > 0).all()
    assert torch.stack([k.a_dot, k.b_dot]).isfinite().all()


def test_ddpm_times_are_steps():
    path = DDPMPath(num_train_timesteps=4)
    t = path.sample_time(torch.tensor([0.0, 0.24, 0.25, 0.6, 0.99]))
    assert t.tolist() == [0.25, 0.25, 0.5, 0.75, 1.0]


@pytest.mark.parametrize(("n", "steps"), [(1000, 1000), (1000, 30), (1000, 7), (100, 100), (100, 64), (100, 1)])
def test_ddpm_is_sampled_at_its_steps(n, steps):
    """diffusers' 'trailing' spacing, which ends with clean data."""
    from diffusers import DDIMScheduler

    scheduler = DDIMScheduler(n, timestep_spacing="trailing")
    scheduler.set_timesteps(steps)
    times = DDPMPath(num_train_timesteps=n).grid(steps)
    np.testing.assert_allclose(times[:-1] * n - 1, scheduler.timesteps, atol=1e-9)
    assert len(times) == steps + 1 and times[-1] == 0


def test_ddpm_has_no_more_steps_than_it_has():
    with pytest.raises(ConfigError, match=r"steps = 250: path 'ddpm' has num_train_timesteps = 100 in all. Ask for"):
        DDPMPath(num_train_timesteps=100).grid(250)


# --- the base ---


def test_broadcast_keeps_samples_apart_when_all_axes_are_equal():
    x, t = torch.zeros(3, 3, 3), torch.tensor([0.0, 0.5, 1.0])
    assert broadcast(t, x).shape == (3, 1, 1)
    x_t, k = LinearPath().sample(torch.ones(3, 3, 3), torch.zeros(3, 3, 3), t)
    assert k.a.shape == (3, 1, 1)
    np.testing.assert_allclose(x_t, np.array([1, 0.5, 0])[:, None, None] * np.ones((3, 3, 3)))


@pytest.mark.parametrize(
    ("name", "time"),
    [
        ("linear", 2.5 / 3.5),
        ("trigonometric", 2 / np.pi * np.arctan(2.5)),
        ("vp", (-0.1 + (0.01 + 2 * 19.9 * np.log(1 + 2.5**2)) ** 0.5) / 19.9),  # sigma^2 = exp(B) - 1
        ("cosine", 2 / np.pi * 1.008 * np.arccos(np.cos(0.008 / 1.008 * np.pi / 2) / (1 + 2.5**2) ** 0.5) - 0.008),
    ],
)
def test_time_at_noise_ratio_inverts_sigma(name, time):
    assert path_of(name).time_at_noise_ratio(2.5) == pytest.approx(time, abs=1e-9)


@pytest.mark.parametrize("name", FAMILIES)
def test_time_at_noise_ratio_on_every_path(name):
    path = path_of(name)
    for sigma in (0.2, 2.5):
        a, b, c = FAMILIES[name].abc(path.time_at_noise_ratio(sigma))
        assert np.hypot(b, c) / a == pytest.approx(sigma, rel=1e-6)


def test_time_at_noise_ratio_stops_at_the_source():
    assert VPPath().time_at_noise_ratio(1e6) == 1.0


def test_start_is_everything_but_data():
    z, x_T, t = (
        torch.tensor([[2.0]]).double(),
        torch.tensor([[-3.0]]).double(),
        torch.tensor([0.6], dtype=torch.float64),
    )
    for name, family in FAMILIES.items():
        _, b, c = family.abc(0.6)
        expected = b * -3 + c * 2 if family.coupled else np.hypot(b, c) * 2
        assert float(path_of(name).start(t, z, x_T)) == pytest.approx(expected, rel=1e-9), name
    with pytest.raises(ValueError, match="source images"):
        path_of("brownian").start(t, z)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("cosin", {}, "Did you mean 'cosine'"),
        ("vp", {"beta_max": 3}, "has no setting 'beta_max'. Allowed: beta_min, beta_d"),
        ("vp", {"beta_min": 0}, "beta_min > 0"),
        ("cosine", {"offset": -1}, "offset = -1"),
        ("ddpm", {"beta_schedule": "sigmoid"}, "unknown beta_schedule 'sigmoid'"),
        ("ddpm", {"beta_end": 1.5}, "0 < first <= last < 1"),
        ("ddpm", {"alphas_cumprod": [0.9, 0.5]}, "needed num_train_timesteps = 1000"),
        ("ddpm", {"num_train_timesteps": 2, "alphas_cumprod": [0.5, 0.9]}, "falling"),
        ("brownian_bridge", {"noise": 0}, "noise = 0"),
        ("i2sb", {"beta_max": -1}, "beta_max = -1"),
        ("ve_bridge", {"sigma_max": 0}, "sigma_max = 0"),
        ("interpolant", {"gamma": "sqr"}, "Did you mean 'sqrt'"),
        ("interpolant", {"mean": "cubic"}, "unknown mean 'cubic'"),
        ("interpolant", {"noise": 0}, "use path 'linear'"),
    ],
)
def test_wrong_settings_are_refused(name, settings, message):
    with pytest.raises(ConfigError, match=message):
        make_path(name, **settings)


def test_interpolant_is_coupled_by_choice():
    assert not InterpolantPath().coupled and InterpolantPath(coupled=True).coupled
