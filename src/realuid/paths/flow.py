"""Flow matching: a straight line or a quarter of a circle between data and Gaussian noise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from realuid.paths.base import Coefficients, Path


@dataclass(frozen=True)
class LinearPath(Path):
    """Linear flow matching / rectified flow: x_t = (1 - t) x_0 + t x_T (Lipman et al. 2023, Liu et al. 2023)."""

    name: ClassVar[str] = "linear"
    default_prediction: ClassVar[str] = "velocity"
    default_sampler: ClassVar[str] = "euler"

    def coefficients(self, t: Tensor) -> Coefficients:
        zero, one = torch.zeros_like(t), torch.ones_like(t)
        return Coefficients(t=t, a=1 - t, b=t, c=zero, a_dot=-one, b_dot=one, c_dot=zero)


@dataclass(frozen=True)
class TrigonometricPath(Path):
    """Trigonometric flow / GVP: x_t = cos(pi t / 2) x_0 + sin(pi t / 2) x_T (Albergo & Vanden-Eijnden 2023)."""

    name: ClassVar[str] = "trigonometric"
    default_prediction: ClassVar[str] = "velocity"
    default_sampler: ClassVar[str] = "euler"

    def coefficients(self, t: Tensor) -> Coefficients:
        half_pi = math.pi / 2
        cos, sin, zero = torch.cos(half_pi * t), torch.sin(half_pi * t), torch.zeros_like(t)
        return Coefficients(t=t, a=cos, b=sin, c=zero, a_dot=-half_pi * sin, b_dot=half_pi * cos, c_dot=zero)
