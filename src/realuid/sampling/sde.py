r"""SDEs with the marginals of the path, for any diffusion e(t) >= 0 (Albergo et al. 2023, cor. 2.18; Song et al. 2021).

    dx = (velocity - e score) dt + sqrt(2 e) dw,        time running from source to data

e = 0 is the probability-flow ODE. A larger e reduces the effect of earlier errors.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import cast

from torch import Tensor

from realuid.paths import Coefficients, Path
from realuid.sampling.base import Field, Noise, Sampler, coefficients_at, declares, stride

#: diffusion(path, k) -> e at the times of k, in the shape of its coefficients.
Diffusion = Callable[[Path, Coefficients], Tensor]


def noise_diffusion(path: Path, k: Coefficients) -> Tensor:
    """e = n, the noise in x_t: the score's 1 / n cancels, so the drift stays bounded (SiT, Ma et al. 2024)."""
    return path.noise_std(k)


def reverse_diffusion(path: Path, k: Coefficients) -> Tensor:
    """e = n^2 d/dt ln(n / a): the path's own process run backwards (Anderson 1982).

    It is s^2 / 2 for a = 1 - t and c = s sqrt(t (1 - t)). Infinite where a = 0: on such paths start the times below
    t_max. 0 where n / a falls, as it does for no process that only adds noise.
    """
    growth = k.c * k.c_dot + (0 if path.coupled else k.b * k.b_dot)
    return (growth - path.noise_std(k) ** 2 * k.a_dot / k.a).clamp(min=0)


@declares(order=1)
def sde(field: Field, x: Tensor, times: Tensor, noise: Noise, diffusion: Diffusion = noise_diffusion) -> Tensor:
    """Euler-Maruyama: one call a step. Weak order one.

    Like those of the ODE, its steps are in the path's smooth time.

    Args:
        field, x, times, noise: as for every sampler.
        diffusion: e(t). The noise of a step takes e at its end, so that none is left where e falls to 0 with n.
    """
    for t, t_next in itertools.pairwise(times):
        here = field(x, t)
        drift = here["velocity"] - diffusion(here.path, here.k) * here["score"]
        variance = 2 * (t - t_next).to(x.dtype) * diffusion(here.path, coefficients_at(t_next, here))
        x = x + stride(here.path, t, t_next, x) * drift + variance.sqrt() * noise(x)
    return x


def scaled_sde(factor: float) -> Sampler:
    """`sde` with e = factor n: 1 is the usual one, 0 the probability-flow ODE by Euler's method."""

    @declares(order=1)
    def sampler(field: Field, x: Tensor, times: Tensor, noise: Noise) -> Tensor:
        return sde(field, x, times, noise, lambda path, k: factor * noise_diffusion(path, k))

    return cast(Sampler, sampler)
