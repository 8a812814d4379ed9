"""The preconditioning of networks whose time runs from noise to data."""

from __future__ import annotations

import torch

from realuid.models import MLP, Condition, MatchingModel, Reversed
from realuid.paths import LinearPath


def test_reverses_time_and_the_sign_of_the_velocity():
    torch.manual_seed(0)
    network = MLP(2, width=16, depth=1).double()
    model = MatchingModel(network, LinearPath(), preconditioning=Reversed(time_scale=7.0))
    x, t = torch.randn(2, 2, dtype=torch.float64), torch.tensor([0.25, 0.9], dtype=torch.float64)
    there = torch.tensor([5.25, 0.7], dtype=torch.float64)  # 7 (1 - t)

    assert torch.allclose(model(x, t), -network(x, there, Condition()), atol=1e-15)
    # x_t = (1 - t) x_0 + t x_T and v = x_T - x_0, so x_0 = x_t - t v
    assert torch.allclose(
        model(x, t, space="data_prediction"), x + t[:, None] * network(x, there, Condition()), atol=1e-12
    )
