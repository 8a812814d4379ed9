"""Common random numbers: real samples share times and noise with the generated samples that they are nearest to.

Where the fake model's loss has terms of opposite sign on real and on generated data (the mixture objective), the noise
of a target is in both and cancels as far as the two samples are alike. The loss keeps its mean, since times and noise
do not depend on the samples that pairs are formed by.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from realuid.models.networks.condition import CALL, LABEL, SOURCE
from realuid.paths.base import broadcast
from realuid.training.draws import Draw


@torch.no_grad()
def sharing_noise(real: Draw, generated: Draw) -> Draw:
    """The draw of real data with the times and noise of generated samples, each of another one.

    Pairs have the smallest sum of squared distances (with the sources of coupled paths, which they keep), among those
    of the same class and of the same call if there are enough. A sample whose partner is of another call keeps its own
    time and noise: a call may have times of its own. With several processes pairs are formed within each.

    Args:
        real: n samples.
        generated: m >= n samples with images, of one shape with the real ones.
    """
    assert real.x_0 is not None and generated.x_0 is not None, "draws with images"
    partner = _partners(real, generated).to(real.t.device)
    fits = torch.ones_like(partner, dtype=torch.bool)
    if CALL in real.condition:
        fits = real.condition[CALL] == generated.condition[CALL][partner]

    def taken(own: Tensor, other: Tensor) -> Tensor:
        return other[partner].where(broadcast(fits, own), own)

    x_T = real.x_T if SOURCE in real.condition else taken(real.x_T, generated.x_T)
    eps = None if real.eps is None or generated.eps is None else taken(real.eps, generated.eps)
    return dataclasses.replace(real, t=taken(real.t, generated.t), x_T=x_T, eps=eps)


def _partners(real: Draw, generated: Draw) -> Tensor:
    """Number of a generated sample for every real one, none twice, int64, shape (n,)."""
    from scipy.optimize import linear_sum_assignment

    cost = torch.cdist(_position(real), _position(generated)).square().cpu().nan_to_num()  # the loss reports NaN
    for name in (LABEL, CALL):  # the later one matters more
        if name in real.condition:
            differ = real.condition[name][:, None] != generated.condition[name][None]
            cost = cost + differ.cpu() * (len(real) * cost.max() + 1)
    return torch.as_tensor(linear_sum_assignment(cost.numpy())[1])


def _position(draw: Draw) -> Tensor:
    """What distances are measured between, float64, shape (n, numbers)."""
    assert draw.x_0 is not None
    parts = (draw.x_0, draw.x_T) if SOURCE in draw.condition else (draw.x_0,)
    return torch.cat([part.flatten(1) for part in parts], dim=1).double()
