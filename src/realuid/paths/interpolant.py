"""Stochastic interpolants: x_t = I(t, x_0, x_T) + gamma(t) eps (Albergo, Boffi & Vanden-Eijnden 2023)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor

from realuid.errors import ConfigError, unknown_name
from realuid.paths.base import Coefficients, PinnedPath
from realuid.paths.flow import LinearPath, TrigonometricPath

Mean = Literal["linear", "trigonometric"]
Gamma = Literal["sqrt", "sin2"]

#: I(t, x_0, x_T) = a x_0 + b x_T: the flow paths without noise.
_MEANS = {"linear": LinearPath(), "trigonometric": TrigonometricPath()}
#: Lower bound of sqrt(2 t (1 - t)) in its derivative, which is infinite at both ends.
_TINY = 1e-4


@dataclass(frozen=True)
class InterpolantPath(PinnedPath):
    """A flow between two ends with noise in the middle.

    Args:
        mean: I: linear (1 - t) x_0 + t x_T, or trigonometric cos(pi t / 2) x_0 + sin(pi t / 2) x_T.
        gamma: noise in the middle: 'sqrt' is s sqrt(2 t (1 - t)), 'sin2' is s sin^2(pi t).
        noise: s, in data units.
        coupled: whether the source comes in pairs with the data instead of from N(0, I).

    Coupled with 'sin2', gamma / a falls to 0 at the source: a network that sees x_T can then infer x_0 from x_t, and
    there is nothing to sample from. Such a path is for networks that do not see x_T.
    """

    name: ClassVar[str] = "interpolant"
    default_prediction: ClassVar[str] = "velocity"
    mean: Mean = "linear"
    gamma: Gamma = "sqrt"
    noise: float = 1.0
    coupled: bool = False  # type: ignore[misc]

    def __post_init__(self) -> None:
        if self.mean not in get_args(Mean):
            raise ConfigError(unknown_name("interpolant mean", self.mean, get_args(Mean)))
        if self.gamma not in get_args(Gamma):
            raise ConfigError(unknown_name("interpolant gamma", self.gamma, get_args(Gamma)))
        if not self.noise > 0:
            raise ConfigError(f"noise = {self.noise}: must be positive; without noise use path '{self.mean}'.")

    def coefficients(self, t: Tensor) -> Coefficients:
        k = _MEANS[self.mean].coefficients(t)
        if self.gamma == "sqrt":
            root = (2 * t * (1 - t)).clamp(min=0).sqrt()
            c, c_dot = root, (1 - 2 * t) / root.clamp(min=_TINY)
        else:
            c, c_dot = torch.sin(math.pi * t) ** 2, math.pi * torch.sin(2 * math.pi * t)
        return Coefficients(t=t, a=k.a, b=k.b, c=self.noise * c, a_dot=k.a_dot, b_dot=k.b_dot, c_dot=self.noise * c_dot)
