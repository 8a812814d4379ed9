"""Measurements of health against brute force, and that they change nothing about training."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from conftest import small_teacher

from realuid.data import Dataset
from realuid.metrics import Evaluator
from realuid.metrics.features import Points
from realuid.models import from_pretrained
from realuid.objectives import RealUID
from realuid.training import DistillConfig
from realuid.training.distill import distill_teacher
from realuid.training.health.vitals import Probe, lag, spread_within


def probe(seed: int, n: int = 5) -> Probe:
    random = torch.Generator().manual_seed(seed)
    teacher, fake, target = (torch.randn(n, 1, 2, 3, generator=random) for _ in range(3))
    return Probe(teacher, fake, target, torch.rand(n, generator=random))


def test_lag_is_the_share_of_the_gap_that_the_fake_models_loss_would_close() -> None:
    p = probe(0)
    slope, curvature = lag(RealUID(), p, None)
    delta, rest, w = p.teacher - p.fake, p.target - p.fake, p.weight[:, None, None, None]
    assert -slope / curvature == pytest.approx(float((w * rest * delta).sum() / (w * delta * delta).sum()), rel=1e-5)


def test_lag_with_real_data_is_a_newton_step_of_the_whole_loss() -> None:
    generated, real = probe(1), probe(2, 7)
    objective = RealUID(0.9, 0.93)
    slope, curvature = lag(objective, generated, real)

    def loss(step: torch.Tensor) -> torch.Tensor:
        total = torch.zeros((), dtype=torch.float64)
        for p, per_sample in ((generated, objective.fake_on_generated), (real, objective.fake_on_real)):
            total = total + (p.weight * per_sample(p.fake + step * (p.teacher - p.fake), p.target, p.teacher)).mean()
        return total

    at = torch.zeros((), dtype=torch.float64, requires_grad=True)
    (first,) = torch.autograd.grad(loss(at), at, create_graph=True)
    (second,) = torch.autograd.grad(first, at)
    assert float(slope) == pytest.approx(float(first.detach()), rel=1e-4)
    assert float(curvature) == pytest.approx(float(second), rel=1e-4)


def test_spread_is_the_distance_of_two_samples_of_a_class() -> None:
    x, labels = torch.randn(9, 2, 3, dtype=torch.float64), torch.tensor([0, 0, 0, 0, 1, 1, 1, 1, 2])
    for given in (None, labels):
        squares, weights = [], []
        for label in [None] if given is None else [0, 1]:  # a single sample has no distance
            group = x if given is None else x[labels == label]
            pairs = [float((a - b).square().sum()) for i, a in enumerate(group) for b in group[:i]]
            squares.append(sum(pairs) / len(pairs))
            weights.append(len(group))
        mean = sum(s * w for s, w in zip(squares, weights, strict=True)) / sum(weights)
        assert spread_within(x, given) == pytest.approx(mean**0.5)


def test_diversity_is_the_distance_of_two_samples_in_features() -> None:
    moons = Dataset(torch.rand(30, 2) * 2 - 1)
    x = torch.randn(40, 2) * 0.3

    def distance(points: torch.Tensor) -> float:
        squares = torch.cdist(points.double(), points.double()).square().sum()
        return float(squares / (len(points) * (len(points) - 1))) ** 0.5

    evaluator = Evaluator(moons, Points(2))
    scores = evaluator.score([x], full=False)
    assert scores.diversity == pytest.approx(distance(x) / distance(moons.values), rel=1e-4)
    collapsed = torch.full((300, 2), 1234.567)  # equal samples, of which rounding makes a negative variance
    assert 0 <= evaluator.score([collapsed], full=False).diversity < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("alpha", [1.0, 0.96])
def test_measuring_changes_nothing_about_training(alpha: float, tmp_path: Path, digits) -> None:
    config = DistillConfig(updates=3, batch=4, alpha=alpha, beta=(1 + alpha) / 2, fake_updates=2, device="cpu")
    evaluator = Evaluator(digits, Flat())
    for every in (0, 1):
        this = dataclasses.replace(config, evaluate_every=every, quick_samples=8)
        distill_teacher(small_teacher(), digits, this, tmp_path / str(every), evaluator=evaluator)
    plain, measured = (from_pretrained(tmp_path / str(every) / "model").state_dict() for every in (0, 1))
    assert plain.keys() == measured.keys() and all(torch.equal(plain[k], measured[k]) for k in plain)


class Flat(Points):
    """Pixels as features."""

    def __init__(self):
        super().__init__(64)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1).float()
