r"""Samplers that step through q(x_s | x_t, x_0) with x_0 predicted: DDIM and ancestral sampling.

    x_s = K x_t + (a_s - K a_t) x_0 + (b_s - K b_t) x_T + rho xi,        rho^2 = n_s^2 - K^2 n_t^2

keeps the marginals for every K, which decides how much of the noise in x_t stays (n is the path's `noise_std`; only
coupled paths have the x_T term). The largest K is DDIM (Song et al. 2021): Euler's method in x / a and n / a, exact as
long as the data prediction does not change; on coupled paths it is DBIM (Zheng et al. 2025). The Markov K is ancestral
sampling (Ho et al. 2020; on coupled paths Liu et al. 2023). Neither uses the velocity, which may be infinite at t = 0
or 1.
"""

from __future__ import annotations

import itertools

from torch import Tensor

from realuid.errors import PredictionError
from realuid.paths import Estimate
from realuid.sampling.base import Field, Noise, coefficients_at, declares

#: Lower bound of divisors where noise or data vanish from x_t.
_TINY = 1e-12


@declares(order=1)
def ddim(field: Field, x: Tensor, times: Tensor, noise: Noise, eta: float = 0.0) -> Tensor:
    """DDIM: one call a step.

    Args:
        field, x, times, noise: as for every sampler; noise is not read at eta = 0.
        eta: 0 is the ODE, 1 ancestral sampling; between them rho = eta times that of ancestral sampling.
    """
    for t, t_next in itertools.pairwise(times):
        here = field(x, t)
        k, s = here.k, coefficients_at(t_next, here)
        n_t, n_s = (here.path.noise_std(c).clamp(min=_TINY) for c in (k, s))
        snr_ratio = (k.a * n_s / (s.a * n_t)).square().clamp(max=1)
        kept = 1 - eta**2 * (1 - snr_ratio)
        K, rho = kept.sqrt() * n_s / n_t, (1 - kept).sqrt() * n_s

        x = K * x + (s.a - K * k.a) * here["data_prediction"]
        if here.path.coupled and not (here.path.markov and eta == 1):  # in which case b_s = K b_t
            x = x + (s.b - K * k.b) * _source(here)
        if eta:
            x = x + rho * noise(x)
    return x


@declares(order=1)
def ancestral(field: Field, x: Tensor, times: Tensor, noise: Noise) -> Tensor:
    """Ancestral sampling: one call a step, the noise of the reverse SDE. Weak order one."""
    return ddim(field, x, times, noise, eta=1.0)


def _source(here: Estimate) -> Tensor:
    if here.x_T is None:
        raise PredictionError(
            f"this sampler keeps x_T in place, but the network on path '{here.path.name}' does not see x_T. Use a "
            "sampler of the velocity ('euler', 'heun') or, on a Markov path, 'ancestral'."
        )
    return here.x_T
