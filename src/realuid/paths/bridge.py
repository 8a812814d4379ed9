r"""Bridges: diffusions pinned to the data x_0 at t = 0 and to the source image x_T at t = 1.

A process with scale alpha_t and noise of variance q_t alpha_t^2 at time t, pinned at both ends, is

    x_t = alpha_t (1 - R) x_0 + (alpha_t / alpha_1) R x_T + alpha_t sqrt(q_1 R (1 - R)) eps,        R = q_t / q_1.

So a bridge is defined by a function R of time that rises from 0 to 1, a scale alpha, and the total noise q_1. In the
terms of DDBM (Zhou et al. 2023) R = SNR_T / SNR_t. Since c^2 is proportional to a b, all of them are Markov.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from realuid.errors import ConfigError
from realuid.paths.base import Coefficients, PinnedPath
from realuid.paths.vp import linear_beta

#: Lower bound of sqrt(R (1 - R)) in its derivative, which is infinite at both ends.
_TINY = 1e-4


class _Bridge(PinnedPath):
    """Base of all bridges."""

    default_prediction: ClassVar[str] = "data_prediction"
    default_sampler: ClassVar[str] = "ancestral"
    coupled: ClassVar[bool] = True
    markov: ClassVar[bool] = True

    @property
    @abstractmethod
    def _total(self) -> float:
        """q_1: total variance of the noise, relative to alpha^2."""

    @property
    def _last_scale(self) -> float:
        """alpha_1."""
        return 1.0

    @abstractmethod
    def _clock(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """R and dR/dt."""

    def _scale(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """alpha and d alpha/dt: by default 1 and 0, a process that only adds noise."""
        return torch.ones_like(t), torch.zeros_like(t)

    def coefficients(self, t: Tensor) -> Coefficients:
        R, R_dot = self._clock(t)
        alpha, alpha_dot = self._scale(t)
        last, noise = self._last_scale, math.sqrt(self._total)
        root = (R * (1 - R)).clamp(min=0).sqrt()
        root_dot = R_dot * (1 - 2 * R) / (2 * root.clamp(min=_TINY))
        return Coefficients(
            t=t,
            a=alpha * (1 - R),
            b=alpha * R / last,
            c=alpha * noise * root,
            a_dot=alpha_dot * (1 - R) - alpha * R_dot,
            b_dot=(alpha_dot * R + alpha * R_dot) / last,
            c_dot=(alpha_dot * root + alpha * root_dot) * noise,
        )


@dataclass(frozen=True)
class BrownianBridge(_Bridge):
    """dx = s dw: x_t = (1 - t) x_0 + t x_T + s sqrt(t (1 - t)) eps.

    Args:
        noise: s, in data units per square root of time.
    """

    name: ClassVar[str] = "brownian_bridge"
    noise: float = 1.0

    def __post_init__(self) -> None:
        _positive("noise", self.noise)

    @property
    def _total(self) -> float:
        return self.noise**2

    def _clock(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return t, torch.ones_like(t)


@dataclass(frozen=True)
class I2SBBridge(_Bridge):
    """dx = sqrt(beta) dw, sqrt(beta) rising linearly to t = 1/2 and falling back (I2SB, Liu et al. 2023).

    x_t ~ N((sb^2 x_0 + s^2 x_T) / S, s^2 sb^2 / S), s^2 and sb^2 the integrals of beta before and after t, S their sum.

    Args:
        beta_min, beta_max: beta at the ends and in the middle, per unit of time; the defaults are the published ones.
    """

    name: ClassVar[str] = "i2sb"
    beta_min: float = 0.1
    beta_max: float = 0.3

    def __post_init__(self) -> None:
        _positive("beta_min", self.beta_min)
        _positive("beta_max", self.beta_max)

    def _rate(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """beta and its integral from 0, for t up to 1/2."""
        first, slope = math.sqrt(self.beta_min), 2 * (math.sqrt(self.beta_max) - math.sqrt(self.beta_min))
        return (first + slope * t) ** 2, first**2 * t + first * slope * t**2 + slope**2 * t**3 / 3

    @property
    def _total(self) -> float:
        return 2 * float(self._rate(torch.tensor(0.5, dtype=torch.float64))[1])

    def _clock(self, t: Tensor) -> tuple[Tensor, Tensor]:
        beta, integral = self._rate(torch.minimum(t, 1 - t))
        share = integral / self._total
        return torch.where(t < 0.5, share, 1 - share), beta / self._total


@dataclass(frozen=True)
class VEBridge(_Bridge):
    """DDBM's variance-exploding bridge, sigma_t = sigma_max t (Zhou et al. 2023, Table 1).

    Args:
        sigma_max: noise of the process at t = 1. Networks are given x_t as it is: DDBM's 80, which is meant for scaled
            inputs, would show them values of up to 40.
    """

    name: ClassVar[str] = "ve_bridge"
    sigma_max: float = 1.0

    def __post_init__(self) -> None:
        _positive("sigma_max", self.sigma_max)

    @property
    def _total(self) -> float:
        return self.sigma_max**2

    def _clock(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return t**2, 2 * t


@dataclass(frozen=True)
class VPBridge(_Bridge):
    """DDBM's variance-preserving bridge.

    alpha_t = exp(-B / 2), sigma_t^2 = 1 - exp(-B), B = beta_min t + beta_d t^2 / 2.

    Args:
        beta_min, beta_d: of the schedule; the defaults are DDBM's.
    """

    name: ClassVar[str] = "vp_bridge"
    beta_min: float = 0.1
    beta_d: float = 2.0

    def __post_init__(self) -> None:
        _positive("beta_min", self.beta_min, most=50)  # exponents of e
        _positive("beta_d", self.beta_d, most=50)

    @property
    def _total(self) -> float:
        return math.expm1(self.beta_min + self.beta_d / 2)

    @property
    def _last_scale(self) -> float:
        return math.exp(-(self.beta_min + self.beta_d / 2) / 2)

    def _clock(self, t: Tensor) -> tuple[Tensor, Tensor]:
        beta, integral = linear_beta(t, self.beta_min, self.beta_d)
        return torch.expm1(integral) / self._total, beta * torch.exp(integral) / self._total

    def _scale(self, t: Tensor) -> tuple[Tensor, Tensor]:
        beta, integral = linear_beta(t, self.beta_min, self.beta_d)
        alpha = torch.exp(-integral / 2)
        return alpha, -beta * alpha / 2


def _positive(name: str, value: float, most: float = 1e6) -> None:
    if not 0 < value <= most:
        raise ConfigError(f"{name} = {value}: must be positive and at most {most:g}; without noise a bridge is a flow.")
