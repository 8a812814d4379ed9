"""What stands between a network and the path: scales of input, output and time (Karras et al. 2022, Table 1)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from realuid.errors import ConfigError, unknown_name
from realuid.paths import Coefficients


class Scales(NamedTuple):
    """output = skip x_t + out F(in x_t, time); each has the shape of the coefficients they came from."""

    skip: Tensor
    out: Tensor
    into: Tensor
    time: Tensor


@dataclass(frozen=True)
class Plain:
    """No preconditioning: output = F(x_t, time_scale * t).

    Args:
        time_scale: sinusoidal embeddings were made for steps 0 to 1000, hence 1000.
    """

    name: ClassVar[str] = "plain"
    time_scale: float = 1000.0

    def scales(self, k: Coefficients) -> Scales:
        """Scales at the times of k."""
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


PRECONDITIONINGS: dict[str, type] = {p.name: p for p in (Plain, Reversed, Steps)}


def make_preconditioning(name: str, **settings: float) -> Plain:
    """The preconditioning called `name`, with its own settings."""
    if name not in PRECONDITIONINGS:
        raise ConfigError(unknown_name("preconditioning", name, PRECONDITIONINGS))
    return PRECONDITIONINGS[name](**settings)


def preconditioning_config(preconditioning: Plain) -> dict:
    """JSON-ready description; `make_preconditioning` reads it back."""
    return {"name": preconditioning.name, **dataclasses.asdict(preconditioning)}
