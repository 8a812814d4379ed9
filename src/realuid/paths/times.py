"""Named distributions of training times: functions (path, uniform) -> t, with uniform random numbers in [0, 1), shape
(b,).

`stratified` draws the uniform numbers of a batch.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor

from realuid.errors import ConfigError, unknown_name
from realuid.paths.base import Path, normal_quantile

#: SiD's grid: of 1000 steps (or all of a discrete path), the first 80% from data.
_GRID, _SHARE = 1000, 0.8


def _own(path: Path, uniform: Tensor) -> Tensor:
    return path.sample_time(uniform)


def _uniform(path: Path, uniform: Tensor) -> Tensor:
    return path.t_min + (path.t_max - path.t_min) * uniform


def _grid(path: Path, uniform: Tensor) -> Tensor:
    steps = min(_GRID, path.most_steps)
    last = int(_SHARE * steps)
    levels = path.grid(steps, uniform.device)[:-1].flip(0).clamp(min=path.t_min).to(uniform.dtype)
    return levels[(uniform * (last + 1)).long().clamp(max=last)]


def _log_normal(path: Path, uniform: Tensor) -> Tensor:
    sigma = torch.exp(-1.2 + 1.2 * normal_quantile(uniform))
    return path.times_at_noise_ratio(sigma)


#: 'path': the path's own training times. 'uniform': in time. 'grid': SiD's, a uniform step of the path's sampling grid
#: of 1000, without the fifth next to the source. 'log-normal': EDM's ln(noise / signal) ~ N(-1.2, 1.2^2).
TIMES: dict[str, Callable[[Path, Tensor], Tensor]] = {
    "path": _own,
    "uniform": _uniform,
    "grid": _grid,
    "log-normal": _log_normal,
}


def check_times(name: str) -> str:
    """`name` itself, or an error with the allowed names."""
    if name not in TIMES:
        raise ConfigError(unknown_name("distribution of times", name, TIMES))
    return name


def sample_times(name: str, path: Path, uniform: Tensor) -> Tensor:
    """Times of a named distribution, shape (b,), for uniform random numbers in [0, 1), shape (b,)."""
    return TIMES[check_times(name)](path, uniform)


@functools.lru_cache(maxsize=64)
def phase_bounds(name: str, path: Path, phases: tuple[float, ...]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Between which uniform random numbers `sample_times` gives times after the next phase, up to this one.

    Args:
        name, path: as in `sample_times`, whose times grow with the random number; found by bisection.
        phases: falling times; the last phase continues to data.

    Returns:
        lower and upper ends, one of each for every phase.
    """
    wanted = torch.tensor(phases, dtype=torch.float64)
    low, high = torch.zeros_like(wanted), torch.ones_like(wanted)
    for _ in range(52):
        middle = (low + high) / 2
        below = sample_times(name, path, middle) <= wanted
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    ends = tuple(low.tolist())
    return (*ends[1:], 0.0), ends


def stratified(count: int, random: torch.Generator) -> Tensor:
    """Uniform random numbers in [0, 1), one in each of `count` intervals of equal length, in random order: shape (b,).

    (permutation(i) + u_i) / count. Each number is uniform, so means over them are unbiased; functions of the number
    alone hardly contribute to a mean's variance.
    """
    interval = torch.randperm(count, generator=random, device=random.device)
    uniform = (interval + torch.rand(count, generator=random, device=random.device)) / count
    return uniform.clamp(max=1 - torch.finfo(uniform.dtype).eps / 2)
