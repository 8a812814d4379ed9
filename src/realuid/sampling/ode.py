"""Samplers of the probability-flow ODE dx/dt = velocity(x, t), from source to data.

Every sampler has one signature, `sampler(velocity, x, times) -> x`, and declares its order of convergence.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
from torch import Tensor

#: velocity(x, t): shape (b, *d) and one scalar time -> dx/dt, shape (b, *d).
Velocity = Callable[[Tensor, Tensor], Tensor]


def euler(velocity: Velocity, x: Tensor, times: Tensor) -> Tensor:
    """Euler's method: one call a step.

    Args:
        velocity: the right-hand side.
        x: state at times[0], shape (b, *d).
        times: from source to data, shape (steps + 1,).
    """
    for t, t_next in itertools.pairwise(times):
        x = x + (t_next - t).to(x.dtype) * velocity(x, t)
    return x


def heun(velocity: Velocity, x: Tensor, times: Tensor) -> Tensor:
    """Heun's method (Karras et al. 2022, Alg. 1): two calls a step, one in the last, which is Euler's.

    The last time may be a point where the velocity is singular; one Euler step there leaves the order at two.
    """
    for i, (t, t_next) in enumerate(itertools.pairwise(times)):
        step = (t_next - t).to(x.dtype)
        slope = velocity(x, t)
        x_next = x + step * slope
        if i < len(times) - 2:
            x_next = x + step * (slope + velocity(x_next, t_next)) / 2
        x = x_next
    return x


euler.order, heun.order = 1, 2  # type: ignore[attr-defined]
#: Network calls for a number of steps.
euler.calls, heun.calls = (lambda steps: steps), (lambda steps: 2 * steps - 1)  # type: ignore[attr-defined]

SAMPLERS: dict[str, Callable[[Velocity, Tensor, Tensor], Tensor]] = {"euler": euler, "heun": heun}


def as_batch(t: Tensor, x: Tensor) -> Tensor:
    """One scalar time for a whole batch: shape (b,), float32 at least."""
    return torch.full((x.shape[0],), float(t), device=x.device, dtype=torch.promote_types(x.dtype, torch.float32))
