"""Named distributions of training times."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from realuid.errors import ConfigError
from realuid.paths import (
    TIMES,
    BrownianBridge,
    DDPMPath,
    LinearPath,
    VEPath,
    VPPath,
    make_path,
    sample_times,
    stratified,
)

UNIFORM = (torch.arange(4000, dtype=torch.float64) + 0.5) / 4000


@pytest.mark.parametrize("name", TIMES)
@pytest.mark.parametrize("path", [LinearPath(), VPPath(), VEPath(), BrownianBridge()], ids=lambda p: p.name)
def test_times_lie_on_the_path_and_grow_with_the_random_number(name: str, path) -> None:
    t = sample_times(name, path, UNIFORM)
    assert t.shape == UNIFORM.shape and t.dtype == UNIFORM.dtype
    assert t.min() >= path.t_min * 0.99 and t.max() <= path.t_max and (t.diff() >= 0).all()
    zero = sample_times(name, path, torch.zeros(3))
    assert zero.isfinite().all() and zero.dtype == torch.float32


def test_sids_grid_is_edms_below_its_800th_step() -> None:
    """SiD, sec. 4: sigma_i of EDM's grid of 1000, i uniform in 0..800 counted from data."""
    t = sample_times("grid", VEPath(), UNIFORM)
    low, high = 0.002 ** (1 / 7), 80 ** (1 / 7)
    expected = [(low + i / 999 * (high - low)) ** 7 for i in (np.arange(4000) + 0.5) / 4000 * 801 // 1]
    assert np.allclose(t.numpy(), expected, rtol=1e-9)
    assert t.max() == pytest.approx(24.5, abs=0.1)


def test_sids_grid_of_fewer_steps_is_its_share_of_them() -> None:
    t = sample_times("grid", DDPMPath(num_train_timesteps=10), torch.tensor([0.0, 0.12, 0.5, 0.999]))
    assert t.tolist() == pytest.approx([0.1, 0.2, 0.5, 0.9])  # steps 0 to 8, equally often


@pytest.mark.parametrize("path", [LinearPath(), VPPath(), VEPath()], ids=lambda p: p.name)
def test_log_normal_noise_levels_are_edms_on_every_path(path) -> None:
    k = path.coefficients(sample_times("log-normal", path, UNIFORM))
    ln_sigma = (k.b / k.a).log().numpy()
    inside = (ln_sigma > math.log(0.02)) & (ln_sigma < math.log(50))  # VP's own times stop at b / a = 0.01
    assert np.allclose(ln_sigma[inside], stats.norm(-1.2, 1.2).ppf(UNIFORM.numpy())[inside], atol=1e-6)
    assert inside.mean() > 0.98


def test_uniform_and_the_paths_own() -> None:
    assert torch.allclose(sample_times("uniform", VEPath(), UNIFORM), 0.002 + UNIFORM * (80 - 0.002))
    assert torch.equal(sample_times("path", VEPath(), UNIFORM), VEPath().sample_time(UNIFORM))


@pytest.mark.parametrize(
    "path", [LinearPath(), VPPath(), VEPath(), DDPMPath(), make_path("trigonometric")], ids=lambda p: p.name
)
def test_calls_are_at_the_same_noise_levels_on_every_gaussian_path(path) -> None:
    first = path.start_time(2.5)
    times = torch.tensor(path.call_times(4, first), dtype=torch.float64)
    k = path.coefficients(times)
    expected = [math.tan(share * math.atan(2.5)) for share in (1, 0.75, 0.5, 0.25)]
    assert (k.b / k.a).tolist() == pytest.approx(expected, rel=1e-6)
    assert path.call_times(2, first) == pytest.approx(times[::2].tolist()) and path.call_times(1, first) == (first,)


def test_calls_from_pure_noise_and_on_a_bridge() -> None:
    circle = make_path("trigonometric")
    assert circle.call_times(4, 1.0) == pytest.approx((1, 0.75, 0.5, 0.25))  # its time is the angle
    assert LinearPath().call_times(2, 1.0) == pytest.approx((1, 0.5))
    bridge = BrownianBridge(noise=0.5)
    times = bridge.call_times(4, 0.8)
    angles = [math.atan2(math.hypot(t, 0.5 * math.sqrt(t * (1 - t))), 1 - t) for t in times]
    assert angles == pytest.approx([angles[0] * share for share in (1, 0.75, 0.5, 0.25)])


def test_an_unknown_name() -> None:
    with pytest.raises(ConfigError, match=r"unknown distribution of times 'lognormal'. Did you mean 'log-normal'"):
        sample_times("lognormal", LinearPath(), UNIFORM)


def draws(count: int, steps: int) -> np.ndarray:
    """Stratified numbers of many steps, shape (steps, count)."""
    random = torch.Generator().manual_seed(0)
    return torch.stack([stratified(count, random) for _ in range(steps)]).double().numpy()


@pytest.mark.parametrize("count", [1, 7, 256])
def test_a_batch_has_one_number_in_every_interval(count: int) -> None:
    uniform = draws(count, 50)
    assert uniform.shape == (50, count) and uniform.min() >= 0 and uniform.max() < 1
    assert (np.sort(np.floor(uniform * count), axis=1) == np.arange(count)).all()


def test_each_place_of_a_batch_is_uniform_and_its_neighbours_tell_nothing_but_their_interval() -> None:
    """Kolmogorov-Smirnov on single places, moments, and the correlation -1 / (n - 1) of places without replacement."""
    uniform = draws(8, 4000)
    for place in (0, 3, 7):
        assert stats.kstest(uniform[:, place], "uniform").pvalue > 0.01
    assert uniform.mean() == pytest.approx(0.5, abs=1e-3) and uniform.var() == pytest.approx(1 / 12, abs=1e-3)
    # covariance of two places: intervals' part -(1 - 1 / n^2) / 12 / (n - 1) of a variance of 1 / 12
    correlation = np.corrcoef(uniform.T)[~np.eye(8, dtype=bool)].mean()
    assert correlation == pytest.approx(-(1 - 1 / 64) / 7, abs=0.005)
    within = uniform * 8 % 1
    assert stats.kstest(within[:, 5], "uniform").pvalue > 0.01


def test_means_over_stratified_numbers_vary_far_less() -> None:
    """The mean of u^2 over n numbers: its variance is the sum of those within the intervals, in closed form."""
    n = 16
    means = (draws(n, 2000) ** 2).mean(axis=1)
    assert means.mean() == pytest.approx(1 / 3, abs=1e-3)
    edges = np.arange(n + 1) / n
    fourth, second = np.diff(edges**5) / 5 * n, (np.diff(edges**3) / 3 * n) ** 2
    assert means.var() == pytest.approx((fourth - second).sum() / n**2, rel=0.1)
    assert means.var() < 0.02 * (1 / 5 - 1 / 9) / n


def test_no_number_is_rounded_up_to_one() -> None:
    """In single precision (2^16 - 1 + u) / 2^16 is 1 for every u above 0.998: about once in 500 batches."""
    highest = [stratified(2**16, torch.Generator().manual_seed(seed)).max().item() for seed in range(600)]
    assert max(highest) == 1 - 2.0**-24
