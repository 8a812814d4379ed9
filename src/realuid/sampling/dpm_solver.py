"""DPM-Solver++ (Lu et al. 2022) by diffusers' scheduler, on every path between data and Gaussian noise.

The scheduler is written for paths with a^2 + n^2 = 1, n the noise in x_t. Any Gaussian path has this form after
division by sqrt(a^2 + n^2), so the scheduler is given the path's n / a at the times of the grid.
"""

from __future__ import annotations

import torch
from diffusers import DPMSolverMultistepScheduler
from torch import Tensor

from realuid.errors import PredictionError
from realuid.paths import Path
from realuid.sampling.base import Field, Noise, declares

#: Lower bound of a, since the scheduler takes the logarithm of n / a.
_TINY = 1e-4


@declares(order=2)
def dpm_solver(field: Field, x: Tensor, times: Tensor, noise: Noise) -> Tensor:
    """DPM-Solver++(2M): two steps' data predictions, one call a step. It draws no noise.

    The first step and one that ends in pure data are of first order. The state is float32 whatever x is.
    """
    here = field(x, times[0])
    scheduler, scale = _scheduler(here.path, times)
    for i, t in enumerate(times[:-1]):
        here = field(x, t) if i else here
        state = scheduler.step(here["data_prediction"], scheduler.timesteps[i], x / scale[i].to(x.dtype)).prev_sample
        x = state * scale[i + 1].to(x.dtype)
    return x


def _scheduler(path: Path, times: Tensor) -> tuple[DPMSolverMultistepScheduler, Tensor]:
    """The scheduler with the path's noise levels, and sqrt(a^2 + n^2) at the times."""
    if path.coupled:
        raise PredictionError(
            f"DPM-Solver++ starts from Gaussian noise, path '{path.name}' from source images. Use 'ddim' or 'heun'."
        )
    k = path.coefficients(times)
    a, n = k.a.clamp(min=_TINY), path.noise_std(k)
    sigmas = n / a
    scheduler = DPMSolverMultistepScheduler(
        prediction_type="sample", final_sigmas_type="zero" if sigmas[-1] == 0 else "sigma_min"
    )
    scheduler.set_timesteps(len(times) - 1, device=times.device)
    scheduler.set_begin_index(0)
    scheduler.sigmas = sigmas
    return scheduler, torch.hypot(a, n)
