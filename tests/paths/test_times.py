"""Named distributions of training times."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from realuid.errors import ConfigError
from realuid.paths import TIMES, BrownianBridge, LinearPath, VEPath, VPPath, sample_times

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


def test_an_unknown_name() -> None:
    with pytest.raises(ConfigError, match=r"unknown distribution of times 'lognormal'. Did you mean 'log-normal'"):
        sample_times("lognormal", LinearPath(), UNIFORM)
