"""Samplers of the probability-flow ODE dx/dt = velocity(x, t), stepping in time as it is. They draw no noise."""

from __future__ import annotations

import itertools

from torch import Tensor

from realuid.sampling.base import Field, Noise, declares


@declares(order=1)
def euler(field: Field, x: Tensor, times: Tensor, noise: Noise) -> Tensor:
    """Euler's method: one call a step."""
    for t, t_next in itertools.pairwise(times):
        x = x + (t_next - t).to(x.dtype) * field(x, t)["velocity"]
    return x


@declares(order=2, calls=lambda steps: 2 * steps - 1)
def heun(field: Field, x: Tensor, times: Tensor, noise: Noise) -> Tensor:
    """Heun's method (Karras et al. 2022, Alg. 1): two calls a step, one in the last, which is Euler's.

    The last time may be a point where the velocity is singular; one Euler step there leaves the order at two.
    """
    for i, (t, t_next) in enumerate(itertools.pairwise(times)):
        step = (t_next - t).to(x.dtype)
        slope = field(x, t)["velocity"]
        x_next = x + step * slope
        if i < len(times) - 2:
            x_next = x + step * (slope + field(x_next, t_next)["velocity"]) / 2
        x = x_next
    return x
