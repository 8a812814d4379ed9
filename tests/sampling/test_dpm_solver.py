"""DPM-Solver++ through diffusers: second order on every Gaussian path; whole grids from noise to data."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from exact import exact_teacher, marginal
from oracles import FAMILIES, world

from realuid.errors import PredictionError
from realuid.sampling import SAMPLERS, as_batch, dpm_solver, sample_teacher

NAMES = ["linear", "trigonometric", "vp", "cosine", "ve", "interpolant linear sqrt free"]


def no_noise(x):
    raise AssertionError("an ODE sampler drew noise")


@pytest.mark.parametrize("name", NAMES)
def test_its_error_falls_with_the_square_of_the_steps(name: str) -> None:
    """Against the exact solution, which keeps (x - mean) / std. The scheduler's state is float32: few steps."""
    model = exact_teacher(name, world(False), "data_prediction")
    (m0, s0), (m1, s1) = (marginal(name, world(False), t) for t in (0.9004, 0.2504))
    x = torch.tensor([[-1.5], [0.3], [2.0]], dtype=torch.float64) * s0 + m0

    def error(steps: int) -> float:
        times = torch.linspace(0.9004, 0.2504, steps + 1, dtype=torch.float64)
        got = dpm_solver(lambda x, t: model.estimate(x, as_batch(t, x)), x, times, no_noise)
        return float((got - ((x - m0) / s0 * s1 + m1)).abs().max())

    coarse, fine = error(32), error(64)
    assert SAMPLERS["dpm_solver"].order == 2 and SAMPLERS["dpm_solver"].calls(7) == 7
    assert np.log2(coarse / fine) == pytest.approx(2, abs=0.3), (coarse, fine)
    assert fine < 1e-3


@pytest.mark.parametrize("name", ["linear", "vp", "ve", "interpolant linear sqrt free"])
def test_the_path_s_own_grid_ends_in_the_data(name: str) -> None:
    """Also where a(t_max) = 0, so that noise / signal is infinite."""
    model = exact_teacher(name, world(False), "data_prediction")
    z = torch.tensor([[-1.5], [0.3], [2.0]])
    mean, std = marginal(name, world(False), 0.0)
    ends = [sample_teacher(model, z, steps, sampler="dpm_solver") for steps in (10, 40)]
    coarse, fine = (float((x - (mean + std * z)).abs().max()) for x in ends)
    assert fine < coarse < 0.3 and fine < 0.02


def test_it_is_for_paths_that_start_from_noise() -> None:
    model = exact_teacher("brownian", world(True), "data_prediction", sees_source=True)
    with pytest.raises(PredictionError, match="'brownian_bridge' from source images"):
        sample_teacher(model, torch.zeros(2, 1), 4, sampler="dpm_solver")
    assert FAMILIES["brownian"].coupled
