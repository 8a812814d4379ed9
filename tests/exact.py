"""Perfect teachers: matching models whose network is the exact conditional expectation in a Gaussian world."""

from __future__ import annotations

import numpy as np
import torch
from oracles import FAMILIES, SOURCE, Family, World, targets
from torch import Tensor

from realuid.models import Condition, MatchingModel, Network, Plain
from realuid.paths import STACKED, make_path


class ExactNetwork(Network):
    """E[prediction | x_t (, x_T)], for a batch at one time."""

    def __init__(self, family: Family, world: World, prediction: str, sees_source: bool):
        super().__init__({})
        self.family, self.world, self.sees_source, self.shape = family, world, sees_source, (world.d,)
        self.parts = STACKED.get(prediction, (prediction,))
        self.heads = len(self.parts)

    def forward(self, x: Tensor, time: Tensor, condition: Condition) -> Tensor:
        t = float(time[0])
        seen = [self.family.abc(t), *([SOURCE] if self.sees_source else [])]
        values = torch.cat([x, condition["source"]], dim=1) if self.sees_source else x
        known = targets(self.family, t)
        pairs = [self.world.regress(known[part], *seen) for part in self.parts]
        gain, offset = (torch.from_numpy(np.concatenate(column)).to(x) for column in zip(*pairs, strict=True))
        return values @ gain.T + offset


def exact_teacher(name: str, world: World, prediction: str, sees_source: bool = False) -> MatchingModel:
    """The perfect model of a family in `oracles.FAMILIES`."""
    family = FAMILIES[name]
    path = make_path(family.path, **family.settings)
    return MatchingModel(ExactNetwork(family, world, prediction, sees_source), path, prediction, Plain(time_scale=1.0))


def gaussian(name: str, world: World, t: float, x_T: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Mean (d,) and covariance (d, d) of x_t, given x_T where it is passed."""
    abc = FAMILIES[name].abc(t)
    if x_T is None:
        return world.moments(abc)
    gain, offset = world.regress(abc, SOURCE)
    return gain @ x_T + offset, world.given(abc, SOURCE)


def marginal(name: str, world: World, t: float) -> tuple[float, float]:
    """Mean and standard deviation of x_t in one dimension."""
    mean, cov = gaussian(name, world, t)
    return float(mean[0]), float(cov[0, 0]) ** 0.5
