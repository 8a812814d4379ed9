r"""What stands between a network and the path: scales of input, output and time (Karras et al. 2022, Table 1).

Table 1 is written for x_0 + sigma noise. Any Gaussian path is that after a change of scale, x_t / a with sigma = b / a,
so `EDM`, `VP` and `VE` are written on the coefficients (a, b): on path 've' (a = 1, b = sigma) they are the table's
columns, and elsewhere the same network denoises the same images. All three make the output a data prediction.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from realuid.errors import ConfigError, unknown_name
from realuid.paths import Coefficients

#: Coefficients are kept above this where they divide or enter a logarithm: only at the very ends of a path.
_TINY = 1e-6


class Scales(NamedTuple):
    """output = skip x_t + out F(in x_t, time); each has the shape of the coefficients they came from."""

    skip: Tensor
    out: Tensor
    into: Tensor
    time: Tensor


@dataclass(frozen=True)
class Preconditioning(ABC):
    """Scales of input, output and time as functions of the path's coefficients."""

    #: Name in `PRECONDITIONINGS` and in saved configurations.
    name: ClassVar[str]

    @abstractmethod
    def scales(self, k: Coefficients) -> Scales:
        """Scales at the times of k, in the shape of its coefficients."""


@dataclass(frozen=True)
class Plain(Preconditioning):
    """No preconditioning: output = F(x_t, time_scale * t).

    Args:
        time_scale: sinusoidal embeddings were made for steps 0 to 1000, hence 1000.
    """

    name: ClassVar[str] = "plain"
    time_scale: float = 1000.0

    def scales(self, k: Coefficients) -> Scales:
        one = torch.ones_like(k.t)
        return Scales(skip=torch.zeros_like(one), out=one, into=one, time=self.time_scale * k.t)


@dataclass(frozen=True)
class Reversed(Plain):
    """A velocity network of the other convention, time 0 = noise and 1 = data: output = -F(x_t, time_scale * (1 - t)).

    Args:
        time_scale: torchcfm's networks take the time itself, hence 1.
    """

    name: ClassVar[str] = "reversed"
    time_scale: float = 1.0

    def scales(self, k: Coefficients) -> Scales:
        one = torch.ones_like(k.t)
        return Scales(skip=torch.zeros_like(one), out=-one, into=one, time=self.time_scale * (1 - k.t))


@dataclass(frozen=True)
class Steps(Plain):
    """A network that counts the steps of a DDPM grid from 0: output = F(x_t, n t - 1).

    Args:
        time_scale: n, the number of steps; step i lies at t = (i + 1) / n.
    """

    name: ClassVar[str] = "steps"

    def scales(self, k: Coefficients) -> Scales:
        one = torch.ones_like(k.t)
        return Scales(skip=torch.zeros_like(one), out=one, into=one, time=self.time_scale * k.t - 1)


def _noise_level(k: Coefficients) -> Tensor:
    """sigma = b / a, positive and finite."""
    return k.b.clamp(min=_TINY) / k.a.clamp(min=_TINY)


@dataclass(frozen=True)
class EDM(Preconditioning):
    r"""EDM: inputs, outputs and targets of unit variance at every noise level; time is ln(sigma) / 4.

    skip = s^2 / (sigma^2 + s^2), out = sigma s / sqrt(sigma^2 + s^2), in = 1 / sqrt(sigma^2 + s^2), s = sigma_data.
    With sigma = b / a and x_t / a as input, a cancels wherever it would divide: finite also where a or b is 0.

    Args:
        sigma_data: standard deviation of the data.
    """

    name: ClassVar[str] = "edm"
    sigma_data: float = 0.5

    def __post_init__(self) -> None:
        if not self.sigma_data > 0:
            raise ConfigError(f"sigma_data = {self.sigma_data}: preconditioning 'edm' needs a positive one.")

    def scales(self, k: Coefficients) -> Scales:
        s, variance = self.sigma_data, k.b**2 + (k.a * self.sigma_data) ** 2
        return Scales(
            skip=k.a * s**2 / variance,
            out=k.b * s / variance.sqrt(),
            into=variance.rsqrt(),
            time=_noise_level(k).log() / 4,
        )


@dataclass(frozen=True)
class VP(Preconditioning):
    r"""Networks trained to predict the noise of variance-preserving diffusion (DDPM++ of Song et al. 2021).

    skip = 1, out = -sigma, in = 1 / sqrt(sigma^2 + 1), time = (M - 1) t(sigma), where t inverts
    sigma(t)^2 = exp(beta_d t^2 / 2 + beta_min t) - 1.

    Args:
        beta_d, beta_min: slope and start of the linear schedule beta(t) = beta_min + beta_d t.
        M: number of steps that the network's time counts.
    """

    name: ClassVar[str] = "vp"
    beta_d: float = 19.9
    beta_min: float = 0.1
    M: int = 1000

    def __post_init__(self) -> None:
        if not all(value > 0 for value in (self.beta_d, self.beta_min, self.M)):
            raise ConfigError(
                f"beta_d = {self.beta_d}, beta_min = {self.beta_min}, M = {self.M}: all must be positive."
            )

    def scales(self, k: Coefficients) -> Scales:
        sigma, a = _noise_level(k), k.a.clamp(min=_TINY)
        growth = torch.log1p(sigma**2)  # = beta_d t^2 / 2 + beta_min t; below: its root, free of cancellation
        t = 2 * growth / (self.beta_min + (self.beta_min**2 + 2 * self.beta_d * growth).sqrt())
        return Scales(skip=1 / a, out=-sigma, into=(k.a**2 + k.b**2).rsqrt(), time=(self.M - 1) * t)


@dataclass(frozen=True)
class VE(Preconditioning):
    """Networks trained to predict the scaled noise of variance-exploding diffusion (NCSN++ of Song et al. 2021).

    skip = 1, out = sigma, in = 1, time = ln(sigma / 2).
    """

    name: ClassVar[str] = "ve"

    def scales(self, k: Coefficients) -> Scales:
        sigma, a = _noise_level(k), k.a.clamp(min=_TINY)
        return Scales(skip=1 / a, out=sigma, into=1 / a, time=(sigma / 2).log())


PRECONDITIONINGS: dict[str, type[Preconditioning]] = {p.name: p for p in (Plain, Reversed, Steps, EDM, VP, VE)}


def make_preconditioning(name: str, **settings: float) -> Preconditioning:
    """The preconditioning called `name`, with its own settings."""
    if name not in PRECONDITIONINGS:
        raise ConfigError(unknown_name("preconditioning", name, PRECONDITIONINGS))
    return PRECONDITIONINGS[name](**settings)


def preconditioning_config(preconditioning: Preconditioning) -> dict:
    """JSON-ready description; `make_preconditioning` reads it back."""
    return {"name": preconditioning.name, **dataclasses.asdict(preconditioning)}
