"""The one object that all matching models share: the conditional path x_t = a(t) x_0 + b(t) x_T + c(t) eps."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor


def broadcast(values: Tensor, like: Tensor) -> Tensor:
    """Reshape per-sample values (b,) to (b, 1, ..., 1) so that they multiply `like`, shape (b, *d).

    The only place in the library where a time or a coefficient meets an image.
    """
    return values.reshape(values.shape[0], *(1,) * (like.dim() - 1))


@dataclass(frozen=True)
class Coefficients:
    """Coefficients of x_t = a x_0 + b x_T + c eps and their time derivatives, at times t.

    All tensors share one shape: (b,), or (b, 1, ..., 1) after `expand`.
    """

    t: Tensor
    a: Tensor
    b: Tensor
    c: Tensor
    a_dot: Tensor
    b_dot: Tensor
    c_dot: Tensor

    def expand(self, like: Tensor) -> Coefficients:
        """The same coefficients, broadcastable to `like`, shape (b, *d)."""
        return Coefficients(*(broadcast(getattr(self, f.name), like) for f in dataclasses.fields(self)))


@dataclass(frozen=True)
class Path(ABC):
    """A conditional path from data (t near 0) to source (t = `t_max`).

    A subclass states its coefficients with their derivatives, the prediction its networks usually make and the times
    between which they are well defined. Nothing else in the library asks which family a path belongs to.
    """

    #: Name in `realuid.paths.PATHS` and in saved configurations.
    name: ClassVar[str]
    #: What networks on this path usually predict, and the space in which losses are taken unless told otherwise.
    default_prediction: ClassVar[str]
    #: Whether a third, fresh Gaussian enters (c > 0): bridges and stochastic interpolants.
    has_eps: ClassVar[bool] = False
    #: Whether the source is drawn together with the data (pairs) rather than independently from N(0, I).
    coupled: ClassVar[bool] = False

    @property
    def t_min(self) -> float:
        """Where training and sampling stop, short of data if a coefficient is singular there."""
        return 0.0

    @property
    def t_max(self) -> float:
        """Where sampling starts: the source, or just short of it."""
        return 1.0

    @abstractmethod
    def coefficients(self, t: Tensor) -> Coefficients:
        """Coefficients and derivatives at times t, shape (b,)."""

    def sample(self, x_0: Tensor, x_T: Tensor, t: Tensor, eps: Tensor | None = None) -> tuple[Tensor, Coefficients]:
        """The point x_t = a x_0 + b x_T + c eps and the coefficients it was made with.

        Args:
            x_0: data, shape (b, *d).
            x_T: source (noise, or the corrupted image of a bridge), shape (b, *d).
            t: times, shape (b,).
            eps: standard normal, shape (b, *d); only read where `has_eps`.

        Returns:
            x_t, shape (b, *d), and coefficients expanded to it.
        """
        k = self.coefficients(t).expand(x_0)
        x_t = k.a * x_0 + k.b * x_T
        if self.has_eps:
            if eps is None:
                raise ValueError(f"path '{self.name}' has a third coefficient: eps is needed, got None")
            x_t = x_t + k.c * eps
        return x_t, k

    def time_at_noise_ratio(self, sigma: float) -> float:
        """The time at which b(t) / a(t) = sigma: EDM's noise level, the common clock of all Gaussian paths.

        Found by bisection, since the ratio grows with t on every path.
        """
        low = torch.tensor([self.t_min], dtype=torch.float64)
        high = torch.tensor([self.t_max], dtype=torch.float64)
        for _ in range(80):
            middle = (low + high) / 2
            k = self.coefficients(middle)
            low, high = (middle, high) if k.b < sigma * k.a else (low, middle)
        return float(high)

    def sample_time(self, uniform: Tensor) -> Tensor:
        """Training times for uniform random numbers in [0, 1), shape (b,): by default uniform in [t_min, t_max]."""
        return self.t_min + (self.t_max - self.t_min) * uniform

    def weight(self, t: Tensor) -> Tensor:
        """Weight w(t) of the matching loss in the default prediction, shape (b,): by default 1."""
        return torch.ones_like(t)

    def grid(self, steps: int, device: torch.device | str = "cpu") -> Tensor:
        """Sampling times from source to data, shape (steps + 1,), float64: by default equally spaced."""
        return torch.linspace(self.t_max, self.t_min, steps + 1, dtype=torch.float64, device=device)

    def to_config(self) -> dict:
        """A JSON-ready description; `realuid.paths.path_from_config` reads it back."""
        return {"name": self.name, **dataclasses.asdict(self)}
