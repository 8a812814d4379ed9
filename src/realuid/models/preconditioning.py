r"""Preconditioning of networks: scales of input, output and time (Karras et al. 2022, Table 1).

Table 1 is written for x_0 + sigma noise. Any Gaussian path takes this form after rescaling: x_t / a with sigma = b / a.
So `EDM`, `VP`, `VE` and `IDDPM` are functions of the coefficients (a, b): on path 've' (a = 1, b = sigma) they are the
table's columns, and on other paths the same network makes the same prediction from the rescaled input. All turn the
output into a data prediction.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from realuid.errors import ConfigError, unknown_name
from realuid.paths import Coefficients, Path
from realuid.paths.vp import MOST_BETA
from realuid.settings import check_range, typed

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
    #: Whether it makes a data prediction of what a network says about data and one Gaussian.
    denoises: ClassVar[bool] = True

    @classmethod
    def on(cls, path: Path) -> Preconditioning:
        """With settings that the path shares: EDM's sigma_data, the betas of VP."""
        return cls(**{f.name: getattr(path, f.name) for f in dataclasses.fields(cls) if hasattr(path, f.name)})

    @abstractmethod
    def scales(self, k: Coefficients) -> Scales:
        """Scales at the times of k, in the shape of its coefficients."""


@dataclass(frozen=True)
class Plain(Preconditioning):
    """No preconditioning: output = sign * F(x_t, time_scale * t).

    Args:
        time_scale: sinusoidal embeddings were made for steps 0 to 1000, hence 1000.
        sign: -1 for a network that predicts the negative, for instance data - noise as the velocity.
    """

    name: ClassVar[str] = "plain"
    denoises: ClassVar[bool] = False
    time_scale: float = 1000.0
    sign: float = 1.0

    def __post_init__(self) -> None:
        _check_sign(self.sign)

    def scales(self, k: Coefficients) -> Scales:
        one = torch.ones_like(k.t)
        return Scales(skip=torch.zeros_like(one), out=self.sign * one, into=one, time=self.network_time(k.t))

    def network_time(self, t: Tensor) -> Tensor:
        """The network's time input at time t."""
        return self.time_scale * t


@dataclass(frozen=True)
class Reversed(Plain):
    """A network of the other convention, time 0 = noise and 1 = data: output = sign * F(x_t, time_scale * (1 - t)).

    Args:
        time_scale: torchcfm's networks take the time itself, hence 1.
        sign: -1 for a velocity, which changes sign with the direction of time; 1 for predictions of data or noise.
    """

    name: ClassVar[str] = "reversed"
    time_scale: float = 1.0
    sign: float = -1.0

    def network_time(self, t: Tensor) -> Tensor:
        return self.time_scale * (1 - t)


@dataclass(frozen=True)
class Steps(Plain):
    """A network that counts the steps of a DDPM grid from 0: output = sign * F(x_t, n t - 1).

    Args:
        time_scale: n, the number of steps; step i lies at t = (i + 1) / n.
        sign: as for `Plain`.
    """

    name: ClassVar[str] = "steps"

    @classmethod
    def on(cls, path: Path) -> Preconditioning:
        """With the number of steps of the path's grid."""
        if (steps := getattr(path, "num_train_timesteps", None)) is None:
            raise ConfigError(
                f"preconditioning 'steps' counts the steps of a discrete grid, and path '{path.name}' has none. Use "
                "path 'ddpm', or preconditioning 'plain'."
            )
        return cls(time_scale=float(steps))

    def network_time(self, t: Tensor) -> Tensor:
        return self.time_scale * t - 1


def _check_sign(sign: float) -> None:
    if sign not in (1, -1):
        raise ConfigError(f"sign = {sign}: allowed are 1 and -1.")


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
        sign: -1 where the network's output is subtracted (diffusers' `prediction_type = v_prediction`).
    """

    name: ClassVar[str] = "edm"
    sigma_data: float = 0.5
    sign: float = 1.0

    def __post_init__(self) -> None:
        _check_sign(self.sign)
        check_range(self, "(0, 1e6]", "sigma_data")

    def scales(self, k: Coefficients) -> Scales:
        s, variance = self.sigma_data, k.b**2 + (k.a * self.sigma_data) ** 2
        return Scales(
            skip=k.a * s**2 / variance,
            out=self.sign * k.b * s / variance.sqrt(),
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
        check_range(self, f"(0, {MOST_BETA}]", "beta_d", "beta_min")
        check_range(self, "[1, 1e6]", "M")

    def scales(self, k: Coefficients) -> Scales:
        sigma, a = _noise_level(k), k.a.clamp(min=_TINY)
        growth = torch.log1p(sigma**2)  # = beta_d t^2 / 2 + beta_min t; below: its root, free of cancellation
        t = 2 * growth / (self.beta_min + (self.beta_min**2 + 2 * self.beta_d * growth).sqrt())
        return Scales(skip=1 / a, out=-sigma, into=(k.a**2 + k.b**2).rsqrt(), time=(self.M - 1) * t)


@dataclass(frozen=True)
class IDDPM(Preconditioning):
    r"""Networks of iDDPM (Nichol & Dhariwal 2021) as Karras et al. 2022 read them: noise at M discrete levels u_j.

    skip = 1, out = -sigma, in = 1 / sqrt(sigma^2 + 1), time = M - 1 - argmin_j |u_j - sigma|, where u_M = 0 and
    u_{j-1} = sqrt((u_j^2 + 1) / max(abar_{j-1} / abar_j, C_1) - 1), abar_j = sin^2(pi / 2 j / (M (C_2 + 1))).

    Args:
        C_1, C_2: limit and offset of the cosine schedule.
        M: number of levels.
    """

    name: ClassVar[str] = "iddpm"
    C_1: float = 0.001
    C_2: float = 0.008
    M: int = 1000

    def __post_init__(self) -> None:
        check_range(self, "(0, 1)", "C_1")
        check_range(self, "(0, 10]", "C_2")
        check_range(self, "[2, 100000]", "M")

    def scales(self, k: Coefficients) -> Scales:
        sigma, a = _noise_level(k), k.a.clamp(min=_TINY)
        levels = _iddpm_levels(self, sigma.device)
        nearest = (levels - sigma.double().flatten()[:, None]).abs().argmin(dim=1).reshape(sigma.shape)
        into = (k.a**2 + k.b**2).rsqrt()
        return Scales(skip=1 / a, out=-sigma, into=into, time=(self.M - 1 - nearest).to(sigma.dtype))


@functools.lru_cache(maxsize=32)
def _iddpm_levels(p: IDDPM, device: torch.device) -> Tensor:
    """u_0 > ... > u_M = 0, float64, shape (M + 1,)."""
    abar = [math.sin(math.pi / 2 * j / (p.M * (p.C_2 + 1))) ** 2 for j in range(p.M + 1)]
    levels = [0.0]
    for j in range(p.M, 0, -1):
        levels.append(math.sqrt((levels[-1] ** 2 + 1) / max(abar[j - 1] / abar[j], p.C_1) - 1))
    return torch.tensor(levels[::-1], dtype=torch.float64, device=device)


@dataclass(frozen=True)
class VE(Preconditioning):
    """Networks trained to predict the scaled noise of variance-exploding diffusion (NCSN++ of Song et al. 2021).

    skip = 1, out = sigma, in = 1, time = ln(sigma / 2).
    """

    name: ClassVar[str] = "ve"

    def scales(self, k: Coefficients) -> Scales:
        sigma, a = _noise_level(k), k.a.clamp(min=_TINY)
        return Scales(skip=1 / a, out=sigma, into=1 / a, time=(sigma / 2).log())


PRECONDITIONINGS: dict[str, type[Preconditioning]] = {p.name: p for p in (Plain, Reversed, Steps, EDM, VP, VE, IDDPM)}


def _preconditioning_class(name: str) -> type[Preconditioning]:
    if name not in PRECONDITIONINGS:
        raise ConfigError(unknown_name("preconditioning", name, PRECONDITIONINGS))
    return PRECONDITIONINGS[name]


def make_preconditioning(name: str, **settings: float) -> Preconditioning:
    """The preconditioning called `name`, with its own settings."""
    kind = _preconditioning_class(name)
    return kind(**typed(kind, f"preconditioning '{name}'", settings))


def preconditioning_on(path: Path, name: str) -> Preconditioning:
    """The preconditioning called `name` for networks that are trained on a path, with the path's settings."""
    return _preconditioning_class(name).on(path)


def check_preconditioning(preconditioning: Preconditioning, prediction: str, path: Path) -> None:
    """Raise ConfigError where a preconditioning would make something else than the prediction asked for."""
    if not preconditioning.denoises:
        return
    name = preconditioning.name
    if path.has_eps or path.coupled:
        raise ConfigError(
            f"preconditioning '{name}' is made for data and one Gaussian, and x_t on path '{path.name}' is more than "
            "that. Use preconditioning 'plain'."
        )
    if prediction != "data_prediction":
        raise ConfigError(
            f"preconditioning '{name}' makes the output a data prediction, but the prediction is "
            f"{prediction}. Use prediction 'data_prediction', or preconditioning 'plain'."
        )


def own_preconditioning(path: Path, prediction: str) -> Preconditioning:
    """The default preconditioning of a network on a path.

    The path's own, or none if that would change the prediction.
    """
    own = make_preconditioning(**path.default_preconditioning)
    return own if prediction == path.default_prediction or isinstance(own, Plain) else Plain()


def preconditioning_config(preconditioning: Preconditioning) -> dict:
    """JSON-ready description; `make_preconditioning` reads it back."""
    return {"name": preconditioning.name, **dataclasses.asdict(preconditioning)}
