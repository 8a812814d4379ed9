"""Variance-exploding diffusion with EDM's choices of training noise, loss weight and sampling grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from realuid.errors import ConfigError
from realuid.paths.base import Coefficients, Path, normal_quantile
from realuid.paths.conversions import error_ratio
from realuid.settings import check_range


@dataclass(frozen=True)
class VEPath(Path):
    """VE / EDM diffusion: x_t = x_0 + t x_T, where the time t is the noise level sigma itself (Karras et al. 2022).

    Args:
        sigma_min, sigma_max: noise levels between which the sampling grid runs; also `t_min` and `t_max`.
        rho: exponent of the grid; larger values put more steps near data.
        p_mean, p_std: training noise has ln sigma ~ N(p_mean, p_std^2).
        sigma_data: standard deviation of the data, in the loss weight.

    Raises:
        ConfigError: unless 0 < sigma_min < sigma_max, and for numbers so large or small that powers of them are none.
    """

    name: ClassVar[str] = "ve"
    default_prediction: ClassVar[str] = "data_prediction"

    sigma_min: float = 0.002
    sigma_max: float = 80.0
    rho: float = 7.0
    p_mean: float = -1.2
    p_std: float = 1.2
    sigma_data: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.sigma_min < self.sigma_max < float("inf"):
            raise ConfigError(
                f"sigma_min = {self.sigma_min}, sigma_max = {self.sigma_max}: needed is 0 < sigma_min < sigma_max."
            )
        check_range(self, "(0, 1e6]", "sigma_max", "sigma_data")
        check_range(self, "[0.5, 1000]", "rho")
        check_range(self, "(0, 50]", "p_std")
        check_range(self, "[-50, 50]", "p_mean")

    @property
    def t_min(self) -> float:
        """sigma_min."""
        return self.sigma_min

    @property
    def t_max(self) -> float:
        """sigma_max."""
        return self.sigma_max

    @property
    def default_preconditioning(self) -> dict[str, Any]:
        """EDM's: inputs and outputs of unit variance, where x_t itself grows up to sigma_max."""
        return {"name": "edm", "sigma_data": self.sigma_data}

    def coefficients(self, t: Tensor) -> Coefficients:
        zero, one = torch.zeros_like(t), torch.ones_like(t)
        return Coefficients(t=t, a=one, b=t, c=zero, a_dot=zero, b_dot=one, c_dot=zero)

    def sample_time(self, uniform: Tensor) -> Tensor:
        """EDM's training noise, sigma = exp(p_mean + p_std Phi^-1(uniform)), Phi the normal distribution function."""
        return torch.exp(self.p_mean + self.p_std * normal_quantile(uniform))

    def weight(self, t: Tensor, space: str) -> Tensor:
        """EDM's weight of the error of the data prediction, (sigma^2 + sigma_data^2) / (sigma sigma_data)^2.

        Other predictions follow from the data's and x_t, so their errors are multiples of its: the loss is the same.
        """
        of_data = (t**2 + self.sigma_data**2) / (t * self.sigma_data) ** 2
        return of_data * error_ratio(space, "data_prediction", self, self.coefficients(t)) ** 2

    def grid(self, steps: int, device: torch.device | str = "cpu") -> Tensor:
        """EDM's noise levels (eq. 5): steps of equal size in sigma^(1 / rho) from sigma_max to sigma_min, then 0.

        Returns:
            shape (steps + 1,), float64.
        """
        ramp = torch.linspace(0, 1, steps, dtype=torch.float64, device=device)
        high, low = self.sigma_max ** (1 / self.rho), self.sigma_min ** (1 / self.rho)
        return torch.cat([(high + ramp * (low - high)) ** self.rho, ramp.new_zeros(1)])
