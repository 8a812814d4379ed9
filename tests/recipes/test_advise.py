"""The probe on teachers whose speed is known: exact ones for Gaussian points, as they are, scaled, or moved."""

from __future__ import annotations

import pytest
import torch

from realuid.cli.main import main
from realuid.data import Dataset
from realuid.models import MatchingModel, Network, Plain
from realuid.objectives.analysis import Mixture
from realuid.paths import make_path
from realuid.recipes import load_recipe
from realuid.recipes.advise import advise, pair_of_recipe, probe


class Exact(Network):
    """The velocity of independent Gaussian coordinates, times a factor."""

    def __init__(self, mean: float, std: float, factor: float):
        super().__init__({})
        self.shape, self.factor, self.world = (2,), factor, Mixture((mean,), (std,))
        self.own = torch.nn.Parameter(torch.zeros(()))

    def forward(self, x, time, condition):
        m, s, t = self.world.means[0], self.world.stds[0], time[:, None]
        exact = -m + (t - (1 - t) * s**2) / ((1 - t) ** 2 * s**2 + t**2) * (x - (1 - t) * m)
        return self.factor * exact


def teacher(mean: float = 0.3, std: float = 0.5, factor: float = 1.0) -> MatchingModel:
    network = Exact(mean, std, factor)
    return MatchingModel(network, make_path("linear"), preconditioning=Plain(time_scale=1.0))


@pytest.fixture
def data() -> Dataset:
    values = 0.3 + 0.5 * torch.randn(4000, 2, generator=torch.Generator().manual_seed(0))
    return Dataset(values, None, "points")


@pytest.mark.parametrize("factor", [0.8, 0.9, 1.0, 1.1])
def test_the_probe_finds_the_factor_of_a_scaled_teacher(data, factor) -> None:
    """E ||c f*||^2 / E <c f*, y> = c, as E[y | x_t] = f*."""
    speed = probe(teacher(factor=factor), data, count=8000)
    assert abs(speed.mean - factor) < 4 * speed.error < 0.1
    assert len(speed.parts) == 5
    assert speed.common == (factor != 1.0)


def test_its_error_is_that_of_repetitions(data) -> None:
    """Against the spread of the ratio over independent draws of the same size."""
    speed = probe(teacher(), data, count=500)
    g, ratios = torch.Generator().manual_seed(1), []
    model = teacher()
    for _ in range(200):
        x_0, x_T = 0.3 + 0.5 * torch.randn(500, 2, generator=g), torch.randn(500, 2, generator=g)
        t = torch.rand(500, generator=g)
        f = model.network((1 - t[:, None]) * x_0 + t[:, None] * x_T, t, None)
        ratios.append(f.square().sum() / (f * (x_T - x_0)).sum())
    assert speed.error == pytest.approx(float(torch.stack(ratios).std()), rel=0.25)


def test_an_error_that_is_no_factor_is_not_taken_for_one(data) -> None:
    """A teacher of another mean is too fast at one end and too slow at the other."""
    speed = probe(teacher(mean=0.9), data, count=4000)
    assert max(speed.parts) - min(speed.parts) > 0.3 and not speed.common


def test_advice_says_what_it_is_based_on(data) -> None:
    good, slow = advise(teacher(), data, count=8000), advise(teacher(factor=0.8), data, fine_tune=True, count=8000)
    assert (good.alpha, good.beta) == (0.92, 0.94) and "no common factor" in good.reasons[1]
    assert slow.alpha == 0.92 and slow.beta == pytest.approx(0.8 * 0.92, abs=0.03)
    assert "(0.92, 0.86) was best" in slow.reasons[0] and "corrects it" in slow.reasons[1]
    assert "`realuid train --start`" in good.reasons[2] == slow.reasons[2]
    fast = advise(teacher(factor=1.3), data, count=8000)
    assert fast.beta == 1.0  # no larger one is allowed


def test_the_command(tmp_path, capsys) -> None:
    from conftest import small_teacher

    from realuid.models import save_pretrained

    folder = save_pretrained(small_teacher(num_classes=10), tmp_path / "t")
    assert main(["advise", "demo", "--teacher", str(folder), "--count", "40"]) == 0
    said = capsys.readouterr().out
    assert "try alpha = 0.96, beta = 0.98" in said and "check-teacher" in said  # it has random weights
    assert "demo uses (0.96, 0.98) for its student real-data; published: (0.98, 0.96)" in " ".join(said.split())


@pytest.mark.parametrize(
    ("recipe", "fine_tune", "pair"),
    [
        ("demo", False, ("real-data", 0.96, 0.98)),
        ("cifar10", False, ("", 0.92, 0.94)),
        ("cifar10-cond", True, ("finetune", 0.96, 0.92)),
        ("text", False, None),
        ("demo", True, None),
    ],
)
def test_what_a_recipe_uses(recipe, fine_tune, pair) -> None:
    assert pair_of_recipe(load_recipe(recipe), fine_tune) == pair
