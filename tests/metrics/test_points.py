"""The sliced Wasserstein distance against closed forms, and where FD sees nothing."""

from __future__ import annotations

import math

import pytest
import torch

from realuid.data import load_dataset
from realuid.metrics import Evaluator, make_extractor
from realuid.metrics.points import sliced_wasserstein


@pytest.mark.parametrize("size", [4000, 3000])
def test_a_shift(size: int) -> None:
    x = torch.randn(4000, 2, generator=torch.Generator().manual_seed(0))
    shift = torch.tensor([3.0, 4.0])
    assert sliced_wasserstein(x, x) == 0
    found = sliced_wasserstein(x, x[:size] + shift)
    assert found == pytest.approx(5 / math.sqrt(2), rel=0.01)
    assert sliced_wasserstein(x, (x + shift)[torch.randperm(4000)]) == pytest.approx(
        sliced_wasserstein(x + shift, x), abs=1e-9
    )


def test_a_scale() -> None:
    """Between N(0, 1) and N(0, s^2) every projection has distance s - 1."""
    x = torch.randn(20_000, 2, generator=torch.Generator().manual_seed(1))
    assert sliced_wasserstein(x, 1.5 * x) == pytest.approx(0.5, rel=0.02)


@pytest.mark.slow
def test_moons_that_are_filled_in_have_no_fd_but_a_distance() -> None:
    data = load_dataset("toy:moons")
    x = data.values
    covariance = torch.linalg.cholesky(torch.cov(x.T))
    filled = x.mean(0) + torch.randn(20_000, 2, generator=torch.Generator().manual_seed(0)) @ covariance.T
    evaluator = Evaluator(data, make_extractor("classifier", data))
    wrong, right = evaluator.score([filled]), evaluator.score([load_dataset("toy:moons").values[:10_000]])
    assert wrong.fd < 0.01 and right.fd < 0.01
    assert wrong.sliced > 0.1 > 5 * right.sliced


def test_images_have_none(digits) -> None:
    pytest.importorskip("torchmetrics")
    data = digits.subset(slice(0, 60))
    evaluator = Evaluator(data, _Flat())
    assert math.isnan(evaluator.score([data.values.float() / 127.5 - 1]).sliced)


class _Flat(torch.nn.Module):
    key, num_features, distances = "flat", 64, ("FD", "KID")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1).float()
