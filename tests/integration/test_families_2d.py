"""Every family distilled from a teacher in closed form (benchmarks/families_2d.py has the full runs and their bar)."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
import torch
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from realuid.data import Dataset
from realuid.models import Condition
from realuid.training import DistillConfig


@pytest.fixture(scope="module")
def bench():
    """The benchmark as a module."""
    path = Path(__file__).parents[2] / "benchmarks" / "families_2d.py"
    spec = importlib.util.spec_from_file_location("families_2d", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["families_2d"] = module  # where dataclasses look up annotations
    spec.loader.exec_module(module)
    return module


FAMILIES = ["flow", "vp", "edm", "bridge", "interpolant", "interpolant-both", "interpolant-coupled"]


@pytest.mark.parametrize("name", FAMILIES)
def test_the_teacher_is_the_gradient_of_the_log_density(bench, name: str) -> None:
    """Its score against autograd through torch's mixture, of x_t, or of x_t and x_T together where it sees x_T."""
    model, world = bench.exact_teacher(bench.FAMILIES[name])
    assert list(bench.FAMILIES) == FAMILIES
    t = torch.tensor(0.37, dtype=torch.float64)
    k = model.path.coefficients(t[None])
    rows = torch.stack([torch.cat([k.a, k.b, k.c]), torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)])
    rows = rows if model.path.coupled else rows[:1]
    mean = torch.einsum("ms,ksd->kdm", rows, world.centres)  # per component and coordinate
    cov = rows @ world.covariance @ rows.T
    mixture = MixtureSameFamily(
        Categorical(torch.ones(len(mean), dtype=torch.float64)),
        torch.distributions.Independent(MultivariateNormal(mean, cov.expand(len(mean), 2, *cov.shape)), 1),
    )
    g = torch.Generator().manual_seed(0)
    x_t = torch.randn(6, 2, generator=g, dtype=torch.float64).requires_grad_()
    x_T = torch.randn(6, 2, generator=g, dtype=torch.float64)
    point = torch.stack([x_t, x_T], dim=-1) if model.path.coupled else x_t[..., None]
    (expected,) = torch.autograd.grad(mixture.log_prob(point).sum(), x_t)
    condition = Condition(source=x_T if model.path.coupled else None)
    score = model(x_t.detach(), t.expand(6), condition, "score")
    assert torch.allclose(score, expected, atol=1e-8, rtol=1e-6)


def test_the_teacher_that_is_distilled_is_the_exact_one(bench) -> None:
    family, (teacher, world) = bench.FAMILIES["bridge"], bench.exact_teacher(bench.FAMILIES["bridge"])
    x_0, x_T = world.sample(512, seed=0)
    data = Dataset(x_0, sources=x_T)
    start = bench.student_start(family, data, 1, 0)
    task = bench.task_from_exact(teacher, start, data, DistillConfig(batch=8, device="cpu"))
    seen = (x_0, torch.full((512,), 0.4), Condition(source=x_T), "data_prediction")
    torch.testing.assert_close(task.game.teacher(*seen), teacher(*seen))
    torch.testing.assert_close(task.generator.model(*seen), start(*seen))
    assert float((task.fake(*seen) - start(*seen)).detach().abs().max()) > 0.1  # random weights
    with pytest.raises(AttributeError):  # a teacher set afterwards would not be the one in the losses
        task.teacher = start


def test_the_ratio_of_real_data_is_one_and_of_a_shifted_one_far_more(bench) -> None:
    world = bench.mixture(coupled=False)

    def real(z, condition):
        return world.sample(len(z), seed=int(z[0, 0].abs() * 1e6))[0]

    assert bench.ratio(real, world, rounds=4) == pytest.approx(1, abs=0.35)
    assert bench.ratio(lambda z, c: real(z, c) + 0.3, world, rounds=2) > 4


@pytest.mark.slow
def test_a_bridge_reaches_the_bar_in_a_short_run(bench) -> None:
    """Pairs of (x_0, x_T) at most twice as far from real ones as those from each other, from a start that is not."""
    before, after = bench.distil(bench.FAMILIES["bridge"], 0.96, 0.98, updates=160, warm=40)
    assert before > 2.5 and after < 2
