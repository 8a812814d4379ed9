"""Real samples that share times and noise with generated ones: which pairs, what is shared, and what it is good for."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
import torch
from tasks import distill_task

from realuid.models import Condition
from realuid.training import DistillTask
from realuid.training.draws import Draw
from realuid.training.pairing import sharing_noise
from realuid.training.updates import fake_loss

MIXTURE = {"objective": "mixture", "data_weight": 1.0, "fake_start": "teacher"}


def draw(count: int, seed: int, **condition: torch.Tensor) -> Draw:
    g = torch.Generator().manual_seed(seed)
    x_0, x_T, eps = (torch.randn(count, 2, 3, generator=g) for _ in range(3))
    return Draw(torch.rand(count, generator=g), x_T, eps, x_0, None, Condition(**condition))


def test_pairs_are_the_nearest_of_all_permutations() -> None:
    real, generated = draw(4, 1), draw(6, 2)
    squares = (real.x_0[:, None] - generated.x_0[None]).square().sum((2, 3))
    best = min(itertools.permutations(range(6), 4), key=lambda p: squares[range(4), p].sum())
    shared = sharing_noise(real, generated)
    for mine, theirs in ((shared.t, generated.t), (shared.x_T, generated.x_T), (shared.eps, generated.eps)):
        assert torch.equal(mine, theirs[list(best)])
    assert shared.x_0 is real.x_0 and shared.condition is real.condition


def test_classes_are_paired_with_their_own() -> None:
    real, generated = draw(3, 1, label=torch.tensor([2, 0, 1])), draw(4, 2, label=torch.tensor([0, 1, 2, 1]))
    shared = sharing_noise(real, generated)
    assert shared.t[0] == generated.t[2] and shared.t[1] == generated.t[0]
    assert shared.t[2] in generated.t[[1, 3]]


def test_a_partner_of_another_call_lends_no_noise() -> None:
    real, generated = draw(2, 1, call=torch.tensor([0, 0])), draw(2, 2, call=torch.tensor([0, 1]))
    shared = sharing_noise(real, generated)
    lent = shared.t == generated.t[0]
    assert lent.sum() == 1
    assert torch.equal(shared.t[~lent], real.t[~lent]) and torch.equal(shared.x_T[~lent], real.x_T[~lent])
    assert torch.equal(shared.eps[~lent], real.eps[~lent])


def test_sources_of_pairs_stay_and_count_as_distance() -> None:
    first, second = draw(2, 1), draw(2, 2)
    real = dataclasses.replace(first, x_0=torch.zeros(2, 2, 3), condition=Condition(source=first.x_T))
    generated = dataclasses.replace(
        second, x_0=torch.zeros(2, 2, 3), x_T=first.x_T.flip(0), condition=Condition(source=first.x_T.flip(0))
    )
    shared = sharing_noise(real, generated)
    assert torch.equal(shared.t, second.t.flip(0)) and torch.equal(shared.eps, second.eps.flip(0))
    assert torch.equal(shared.x_T, first.x_T)


def test_images_that_diverged_are_left_to_the_check_of_the_loss() -> None:
    real, generated = draw(2, 1), draw(3, 2)
    shared = sharing_noise(real, generated.showing(torch.full((3, 2, 3), torch.nan)))
    assert all((generated.t == t).any() for t in shared.t)


def fake_gradient(task: DistillTask, generated: Draw, real: Draw) -> torch.Tensor:
    loss = fake_loss(task.fake, task.game, generated, real, len(generated), len(real))
    gradients = torch.autograd.grad(loss, list(task.fake.parameters()))
    return torch.cat([g.flatten() for g in gradients])


def test_noise_cancels_where_generated_images_are_the_real_ones(data) -> None:
    """At f = f~ and lambda = 1 the gradient is E_g 2 y^g - E_r 2 y^r: nothing but noise if both are the same images."""
    task = distill_task(data, **MIXTURE)
    real, other = task.batches.real("r", 0, 8), task.batches.real("g", 0, 8)
    turned = torch.randperm(8, generator=torch.Generator().manual_seed(0))
    generated = dataclasses.replace(other, x_0=real.x_0[turned])
    apart = fake_gradient(task, generated, real).norm()
    together = fake_gradient(task, generated, sharing_noise(real, generated)).norm()
    assert together < 1e-4 * apart


@pytest.mark.parametrize(
    ("settings", "shared"),
    [
        (MIXTURE, True),
        ({"objective": "general", "alpha": 1.25, "beta": 1.25, "gamma": 0.5}, True),
        ({"alpha": 0.9, "beta": 0.95}, False),  # targets of both kinds have one sign: shared noise would add up
        ({"objective": "general", "alpha": 1.0, "beta": 0.94, "gamma": 0.9}, False),
    ],
)
def test_noise_is_shared_where_signs_differ(data, settings: dict, shared: bool) -> None:
    task = distill_task(data, **{**settings, "real_share": 0.5})
    for draws in task.fake_draws(3):
        assert draws.real is not None and len(draws.real) == 8
        found = [any(torch.equal(x, y) for y in draws.generated.x_T) for x in draws.real.x_T]
        assert found == [shared] * 8
        assert all((draws.generated.t == t).any() for t in draws.real.t) is shared
