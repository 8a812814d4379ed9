"""The conditional path x_t = a(t) x_0 + b(t) x_T + c(t) eps, the common object of all matching models."""

from __future__ import annotations

import dataclasses
import math
import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

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

    A subclass defines its coefficients with their derivatives, the usual prediction of its networks and the times
    between which they are well defined. Nothing else in the library depends on the family of a path.

    Values are exact on all of [0, 1]. A derivative that is infinite at an end is finite there too: beyond `t_min` and
    `t_max` it may be clamped, between them it is exact.
    """

    #: Name in `realuid.paths.PATHS` and in saved configurations.
    name: ClassVar[str]
    #: What networks on this path usually predict, and the space in which losses are taken by default.
    default_prediction: ClassVar[str]
    #: How teachers on this path are sampled by default: a name in `realuid.sampling.SAMPLERS`.
    default_sampler: ClassVar[str] = "ddim"
    #: Whether there is a third, independent Gaussian (c > 0): bridges and stochastic interpolants.
    has_eps: ClassVar[bool] = False
    #: Whether the source is drawn together with the data (pairs) rather than independently from N(0, I).
    coupled: ClassVar[bool] = False
    #: Whether it is the bridge of a Markov process (c^2 proportional to a b), so that the way from x_t towards data
    #: depends on x_t and x_0 only: then a network that never sees x_T can still be sampled.
    markov: ClassVar[bool] = False

    @property
    def t_min(self) -> float:
        """Smallest time of training and sampling; above 0 if a coefficient is singular at data."""
        return 0.0

    @property
    def t_max(self) -> float:
        """Largest time, where sampling starts: the source, or just before it."""
        return 1.0

    @property
    def most_steps(self) -> int:
        """Maximum number of sampling steps; unlimited unless times are discrete."""
        return sys.maxsize

    @property
    def default_preconditioning(self) -> dict[str, Any]:
        """Default preconditioning of networks, as arguments of `make_preconditioning`.

        With a skip connection of x_t it applies to the default prediction only, otherwise to all.
        """
        return {"name": "plain"}

    @abstractmethod
    def coefficients(self, t: Tensor) -> Coefficients:
        """Coefficients and derivatives at times t, shape (b,)."""

    def sample(self, x_0: Tensor, x_T: Tensor, t: Tensor, eps: Tensor | None = None) -> tuple[Tensor, Coefficients]:
        """The point x_t = a x_0 + b x_T + c eps and its coefficients.

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

    def noise_std(self, k: Coefficients) -> Tensor:
        """Standard deviation of x_t given x_0 and, on coupled paths, x_T; in the shape of the coefficients."""
        if self.coupled:
            return k.c
        return (k.b**2 + k.c**2).sqrt() if self.has_eps else k.b

    def start(self, t: Tensor, z: Tensor, x_T: Tensor | None = None) -> Tensor:
        """x_t without its data term: the start of students and samplers, since a x_0 is small near t_max.

        Args:
            t: times, shape (b,).
            z: standard normal, shape (b, *d).
            x_T: the source images of a coupled path, shape (b, *d).
        """
        k = self.coefficients(t).expand(z)
        noise = self.noise_std(k) * z
        if not self.coupled:
            return noise
        if x_T is None:
            raise ValueError(f"path '{self.name}' is coupled: it starts from source images, but x_T is None")
        return k.b * x_T + noise

    def time_at_noise_ratio(self, sigma: float) -> float:
        """The time at which sqrt(b^2 + c^2) / a = sigma, EDM's noise level.

        t_max if the noise level never reaches sigma.
        """
        return float(self.times_at_noise_ratio(torch.tensor([sigma], dtype=torch.float64)))

    def times_at_noise_ratio(self, sigma: Tensor) -> Tensor:
        """The same for many noise levels, shape (b,).

        Found by bisection, since the noise level increases with t on every path.
        """
        low, high = (torch.full_like(sigma, t, dtype=torch.float64) for t in (self.t_min, self.t_max))
        for _ in range(80):
            middle = (low + high) / 2
            k = self.coefficients(middle)
            below = torch.hypot(k.b, k.c) < sigma * k.a
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return high.to(sigma.dtype)

    def start_time(self, sigma: float) -> float:
        """The default start time of a one-step student.

        The first time at which noise / signal is sigma. On coupled paths, where b x_T is not noise but informative
        about x_0, it is the first time, to 1e-4, at which c >= a. t_max if there is none.
        """
        if not self.coupled:
            return self.time_at_noise_ratio(sigma)
        t = torch.linspace(self.t_min, self.t_max, 10_001, dtype=torch.float64)
        k = self.coefficients(t)
        faded = t[k.c >= k.a]
        return float(faded[0]) if len(faded) else self.t_max

    def call_times(self, calls: int, first: float) -> tuple[float, ...]:
        """Times of a student of several calls: equal steps of the angle arctan(sqrt(b^2 + c^2) / a) towards data.

        The angle is pi / 2 at pure noise and 0 at data, so that all Gaussian paths share the same noise levels. On the
        linear path calls from t = 1 are at noise / signal = tan(k pi / 2K).

        Args:
            calls: number of times, at least 1.
            first: the first one.

        Returns:
            shape (calls,), falling; with twice as many calls, every other time is the same.
        """
        k = self.coefficients(torch.tensor([first], dtype=torch.float64))
        angle = torch.atan2(torch.hypot(k.b, k.c), k.a)
        later = angle * torch.arange(calls - 1, 0, -1, dtype=torch.float64) / calls
        return (first, *self.times_at_noise_ratio(torch.tan(later)).tolist())

    def sample_time(self, uniform: Tensor) -> Tensor:
        """Training times for uniform random numbers in [0, 1), shape (b,): by default uniform in [t_min, t_max]."""
        return self.t_min + (self.t_max - self.t_min) * uniform

    def weight(self, t: Tensor, space: str) -> Tensor:
        """Weight w(t) of the squared error of a prediction, shape (b,): by default 1.

        Three targets are unbounded near the ends. Their errors are rescaled to those of bounded predictions: an error
        of the score to that of the noise, an error of the drift to that of the data, and an error of the velocity on
        paths with c eps by 1 / sqrt(1 + c'^2).

        Args:
            t: times, shape (b,).
            space: the prediction, a name in `realuid.paths.PREDICTIONS` or `STACKED`.
        """
        k = self.coefficients(t)
        if space == "score":
            return self.noise_std(k) ** 2
        if space == "drift":
            return (k.b / (k.a_dot * k.b - k.a * k.b_dot)) ** 2
        if self.has_eps and space in ("velocity", "velocity_and_noise"):
            return 1 / (1 + k.c_dot**2)
        return torch.ones_like(t)

    def grid(self, steps: int, device: torch.device | str = "cpu") -> Tensor:
        """Sampling times from source to data, shape (steps + 1,), float64: by default equally spaced.

        The last one is 0 even if t_min is not: no sampler calls a network there.
        """
        return torch.linspace(self.t_max, 0.0, steps + 1, dtype=torch.float64, device=device)

    def smooth_time(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """u(t), in which x_t is smooth up to both ends, and dt/du, in the shape of t: by default u = t.

        Samplers of the velocity step in u, since their order requires smoothness.
        """
        return t, torch.ones_like(t)

    def to_config(self) -> dict:
        """A JSON-ready description; `realuid.paths.path_from_config` reads it back."""
        return {"name": self.name, **dataclasses.asdict(self)}


class PinnedPath(Path):
    """A path with c proportional to sqrt(t (1 - t)): 0 at both ends, where c' is infinite.

    Its times stop short of both ends: by 1e-3 at data, and by 1e-4 at the source, where sampling begins without a x_0
    and the error a / c must be small. Its smooth time is the angle u = arcsin(sqrt(t)), of which sqrt(t (1 - t))
    is half a sine, and its grid has equal steps in u: samplers keep their order up to the ends.
    """

    has_eps: ClassVar[bool] = True

    @property
    def t_min(self) -> float:
        return 1e-3

    @property
    def t_max(self) -> float:
        return 1 - 1e-4

    def smooth_time(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return torch.asin(t.sqrt()), 2 * (t * (1 - t)).sqrt()

    def grid(self, steps: int, device: torch.device | str = "cpu") -> Tensor:
        first = math.asin(math.sqrt(self.t_max))
        return torch.sin(torch.linspace(first, 0.0, steps + 1, dtype=torch.float64, device=device)) ** 2


def normal_quantile(uniform: Tensor) -> Tensor:
    """Standard normal numbers from uniform ones in [0, 1); 0 is replaced by half the spacing of float32."""
    return torch.special.ndtri(uniform.clamp(min=2.0**-25))
