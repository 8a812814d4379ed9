"""The interface of samplers: `sampler(field, x, times, noise) -> x`, from source to data, with a declared order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar, cast

import torch
from torch import Tensor

from realuid.paths import Coefficients, Estimate, Path

#: field(x, t): one network call at one scalar time for x, shape (b, *d) -> an `Estimate`.
Field = Callable[[Tensor, Tensor], Estimate]

#: noise(x): fresh standard normal numbers of the shape of x.
Noise = Callable[[Tensor], Tensor]


class Sampler(Protocol):
    """A sampler: a function that declares its order and its cost."""

    #: Its error decreases like steps^-order: of every sample for ODEs, of moments (weak order) for SDEs.
    order: int
    #: Network calls for a number of steps.
    calls: Callable[[int], int]

    def __call__(self, field: Field, x: Tensor, times: Tensor, noise: Noise) -> Tensor:
        """Args: field; x, state at times[0], shape (b, *d); times from source to data, shape (steps + 1,); noise."""
        ...


_F = TypeVar("_F", bound=Callable[..., Tensor])


def declares(order: int, calls: Callable[[int], int] = lambda steps: steps) -> Callable[[_F], _F]:
    """Attach a sampler's order and number of network calls to its function."""

    def mark(function: _F) -> _F:
        sampler = cast(Sampler, function)
        sampler.order, sampler.calls = order, calls
        return function

    return mark


def as_batch(t: Tensor, x: Tensor) -> Tensor:
    """One scalar time for a whole batch: shape (b,), float32 at least."""
    return torch.full((x.shape[0],), float(t), device=x.device, dtype=torch.promote_types(x.dtype, torch.float32))


def coefficients_at(t: Tensor, here: Estimate) -> Coefficients:
    """The path's coefficients at another time, expanded to the point of an estimate."""
    return here.path.coefficients(as_batch(t, here.x_t)).expand(here.x_t)


def stride(path: Path, t: Tensor, t_next: Tensor, x: Tensor) -> Tensor:
    """Length dt/du (u_next - u) of a step in t, u the path's smooth time; t_next - t if u = t."""
    (u, dt_du), (u_next, _) = path.smooth_time(t), path.smooth_time(t_next)
    return (dt_du * (u_next - u)).to(x.dtype)
