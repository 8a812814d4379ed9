"""Samplers of the probability-flow ODE dx/du = velocity(x, t) dt/du, u the path's smooth time; deterministic.

If the network is given x_T and the path's noise vanishes like sqrt(1 - t) there, so does the ODE's solution: thousands
of steps in t would still overshoot. As a function of u the solution is smooth. On all other paths u = t.
"""

from __future__ import annotations

import itertools

from torch import Tensor

from realuid.sampling.base import Field, Noise, declares, stride


@declares(order=1)
def euler(field: Field, x: Tensor, times: Tensor, noise: Noise) -> Tensor:
    """Euler's method: one call a step."""
    for t, t_next in itertools.pairwise(times):
        here = field(x, t)
        x = x + stride(here.path, t, t_next, x) * here["velocity"]
    return x


@declares(order=2, calls=lambda steps: 2 * steps - 1)
def heun(field: Field, x: Tensor, times: Tensor, noise: Noise) -> Tensor:
    """Heun's method (Karras et al. 2022, Alg. 1): two calls a step, one in the last, which is Euler's.

    The last time may be a point where the velocity is singular; one Euler step there leaves the order at two.
    """
    for i, (t, t_next) in enumerate(itertools.pairwise(times)):
        here = field(x, t)
        change = stride(here.path, t, t_next, x) * here["velocity"]
        if i < len(times) - 2:
            there = field(x + change, t_next)
            change = (change - stride(there.path, t_next, t, x) * there["velocity"]) / 2
        x = x + change
    return x
