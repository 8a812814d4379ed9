"""Variance-preserving diffusion, x_t = a x_0 + b x_T with a^2 + b^2 = 1: continuous schedules and DDPM's grids."""

from __future__ import annotations

import functools
import itertools
import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor

from realuid.errors import ConfigError, unknown_name
from realuid.paths.base import Coefficients, Path

#: Far above the published 1000: a damaged number may ask for a table of billions.
MAX_STEPS = 100_000

#: Of beta_min and beta_d: far above the published 20, and noise from the start.
MOST_BETA = 1000

#: Lower bound of b in its derivative, which is infinite at t = 0.
_TINY = 1e-4


class _VariancePreserving(Path):
    """Base of all schedules: b and its derivative follow from a."""

    default_prediction: ClassVar[str] = "noise_prediction"

    @abstractmethod
    def _signal(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """a, b and da/dt; b is computed separately, since sqrt(1 - a^2) loses precision near t = 0."""

    def coefficients(self, t: Tensor) -> Coefficients:
        a, b, a_dot = self._signal(t)
        zero = torch.zeros_like(t)
        return Coefficients(t=t, a=a, b=b, c=zero, a_dot=a_dot, b_dot=-a * a_dot / b.clamp(min=_TINY), c_dot=zero)

    @property
    def t_min(self) -> float:
        return 1e-3


@dataclass(frozen=True)
class VPPath(_VariancePreserving):
    """VP diffusion with linear beta(t) = beta_min + beta_d t: a = exp(-int_0^t beta / 2) (Song et al. 2021, eq. 33)."""

    name: ClassVar[str] = "vp"
    beta_min: float = 0.1
    beta_d: float = 19.9

    def __post_init__(self) -> None:
        _check_beta(self.beta_min, self.beta_d)

    def _signal(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        beta, integral = linear_beta(t, self.beta_min, self.beta_d)
        a = torch.exp(-integral / 2)
        return a, torch.sqrt(-torch.expm1(-integral)), -beta * a / 2


@dataclass(frozen=True)
class CosinePath(_VariancePreserving):
    """VP diffusion with the cosine schedule: a = cos(angle(t)) / cos(angle(0)), angle(t) = pi/2 (t + s) / (1 + s).

    s = offset (Nichol & Dhariwal 2021, eq. 17). At t = 1 nothing of x_0 is left, so t_max = 0.9946, where b / a = 118.
    """

    name: ClassVar[str] = "cosine"
    offset: float = 0.008

    def __post_init__(self) -> None:
        if not self.offset > 0:
            raise ConfigError(f"offset = {self.offset}: must be positive; the published one is 0.008.")

    @property
    def t_max(self) -> float:
        return 0.9946

    def _signal(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        speed = math.pi / 2 / (1 + self.offset)
        first = speed * self.offset
        angle, scale = first + speed * t, math.cos(first)
        b = torch.sqrt(torch.sin(speed * t) * torch.sin(angle + first)) / scale
        return torch.cos(angle) / scale, b, -speed * torch.sin(angle) / scale


BetaSchedule = Literal["linear", "scaled_linear", "squaredcos_cap_v2"]


@dataclass(frozen=True)
class DDPMPath(_VariancePreserving):
    """The discrete grid of a DDPM checkpoint (Ho et al. 2020), with diffusers' names.

    Step i = 0, ..., n - 1 lies at t = (i + 1) / n, and t = 0 is clean data. Between steps the log-SNR follows monotone
    cubics, so that derivatives are continuous; before the first one the variance grows linearly. Its networks receive
    the step i = n t - 1 (preconditioning `steps`), and are trained and sampled at steps only.

    Args:
        num_train_timesteps: n.
        beta_start, beta_end, beta_schedule: of the betas; not read for 'squaredcos_cap_v2' (except its name).
        alphas_cumprod: the table a^2 itself, n numbers, for checkpoints whose schedule has no name here.
    """

    name: ClassVar[str] = "ddpm"
    num_train_timesteps: int = 1000
    beta_start: float = 1e-4
    beta_end: float = 0.02
    beta_schedule: BetaSchedule = "linear"
    alphas_cumprod: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.beta_schedule not in get_args(BetaSchedule):
            raise ConfigError(unknown_name("beta_schedule", self.beta_schedule, get_args(BetaSchedule)))
        if not 2 <= self.num_train_timesteps <= MAX_STEPS:
            raise ConfigError(
                f"num_train_timesteps = {self.num_train_timesteps}: needed is a number from 2 to {MAX_STEPS:,}."
            )
        if not 0 < self.beta_start <= self.beta_end < 1:
            raise ConfigError(f"betas from {self.beta_start} to {self.beta_end}: needed 0 < first <= last < 1.")
        if self.alphas_cumprod is not None:
            object.__setattr__(self, "alphas_cumprod", tuple(float(v) for v in self.alphas_cumprod))
            _check_table(self.alphas_cumprod, self.num_train_timesteps)

    @property
    def t_min(self) -> float:
        return 1 / self.num_train_timesteps

    @property
    def most_steps(self) -> int:
        """n."""
        return self.num_train_timesteps

    @property
    def default_preconditioning(self) -> dict[str, Any]:
        """The step's number instead of the time."""
        return {"name": "steps", "time_scale": float(self.num_train_timesteps)}

    def grid(self, steps: int, device: torch.device | str = "cpu") -> Tensor:
        """Times of the steps nearest to equal spacing, the last one first, then 0 (diffusers' 'trailing').

        Raises:
            ConfigError: for more steps than there are.
        """
        n = self.num_train_timesteps
        if steps > n:
            raise ConfigError(
                f"steps = {steps}: path 'ddpm' has num_train_timesteps = {n} in all. Ask for at most {n}."
            )
        return torch.linspace(n, 0, steps + 1, dtype=torch.float64, device=device).round() / n

    def sample_time(self, uniform: Tensor) -> Tensor:
        """Times of the n steps, the only ones such a network was trained at, equally often."""
        return (torch.floor(uniform * self.num_train_timesteps) + 1) / self.num_train_timesteps

    def _signal(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        n, table = self.num_train_timesteps, _cubics(self, t.device)
        step = (t * n - 1).clamp(0, n - 1)
        index = step.long().clamp(max=n - 2)
        u, (p0, p1, p2, p3) = step - index, table[:, index].to(t.dtype)
        log_snr, slope = p0 + u * (p1 + u * (p2 + u * p3)), p1 + u * (2 * p2 + 3 * u * p3)
        early = (t * n).clamp(max=1)  # how much of the first step's variance is there
        b2 = early * torch.sigmoid(-log_snr)
        a = torch.where(early < 1, 1 - b2, torch.sigmoid(log_snr)).sqrt()
        return a, b2.sqrt(), a * b2 * slope * n / 2


def linear_beta(t: Tensor, beta_min: float, beta_d: float) -> tuple[Tensor, Tensor]:
    """beta(t) = beta_min + beta_d t and its integral from 0 to t."""
    return beta_min + beta_d * t, beta_min * t + beta_d * t**2 / 2


@functools.lru_cache(maxsize=32)
def _cubics(path: DDPMPath, device: torch.device) -> Tensor:
    """log(a^2 / b^2) between the steps, as coefficients of u^0, ..., u^3, u in [0, 1]: float64, shape (4, n - 1).

    Fritsch & Carlson 1980: the slope at a step is the harmonic mean of those around it, hence no overshooting.
    """
    n, kind = path.num_train_timesteps, path.beta_schedule
    if path.alphas_cumprod is not None:
        table = torch.tensor(path.alphas_cumprod, dtype=torch.float64)
    else:
        table = torch.cumprod(1 - _betas(kind, n, path.beta_start, path.beta_end), 0)
    table = table.clamp(min=2.0**-30)  # a schedule of zero terminal SNR: a = 3e-5 instead of 0
    log_snr = table.log() - torch.log1p(-table)
    rise = log_snr.diff()
    inner = 2 * rise[:-1] * rise[1:] / (rise[:-1] + rise[1:])
    slope = torch.cat([rise[:1], inner, rise[-1:]])
    left, right = slope[:-1], slope[1:]
    return torch.stack([log_snr[:-1], left, 3 * rise - 2 * left - right, left + right - 2 * rise]).to(device)


def _betas(kind: BetaSchedule, n: int, start: float, end: float) -> Tensor:
    if kind == "linear":
        return torch.linspace(start, end, n, dtype=torch.float64)
    if kind == "scaled_linear":
        return torch.linspace(start**0.5, end**0.5, n, dtype=torch.float64) ** 2
    bar = torch.cos((torch.linspace(0, 1, n + 1, dtype=torch.float64) + 0.008) / 1.008 * math.pi / 2) ** 2
    return (1 - bar[1:] / bar[:-1]).clamp(max=0.999)


def _check_beta(beta_min: float, beta_d: float) -> None:
    if not (0 < beta_min <= MOST_BETA and 0 <= beta_d <= MOST_BETA):
        raise ConfigError(
            f"beta_min = {beta_min}, beta_d = {beta_d}: needed beta_min > 0, beta_d >= 0, and both at most {MOST_BETA}."
        )


def _check_table(table: tuple[float, ...], steps: int) -> None:
    falls = all(1 > a > b >= 0 for a, b in itertools.pairwise(table))
    if len(table) != steps or not falls:
        raise ConfigError(
            f"alphas_cumprod has {len(table)} values from {max(table, default=0):g} to {min(table, default=0):g}: "
            f"needed num_train_timesteps = {steps} of them, falling from below 1 to 0 or more."
        )
