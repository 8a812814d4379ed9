"""The probe on teachers whose quality is known: exact ones for Gaussian points, right or about the wrong Gaussian."""

from __future__ import annotations

import pytest
import torch

from realuid.cli.main import main
from realuid.data import Dataset
from realuid.errors import ConfigError
from realuid.models import MatchingModel, Network, Plain
from realuid.objectives.analysis import Mixture
from realuid.paths import make_path
from realuid.recipes.advise import advise, probe


class Exact(Network):
    """The velocity of independent Gaussian coordinates."""

    def __init__(self, mean: float, std: float):
        super().__init__({})
        self.shape, self.world = (2,), Mixture((mean,), (std,))
        self.own = torch.nn.Parameter(torch.zeros(()))

    def forward(self, x, time, condition):
        m, s, t = self.world.means[0], self.world.stds[0], time[:, None]
        return -m + (t - (1 - t) * s**2) / ((1 - t) ** 2 * s**2 + t**2) * (x - (1 - t) * m)


def teacher(mean: float, std: float) -> MatchingModel:
    return MatchingModel(Exact(mean, std), make_path("linear"), preconditioning=Plain(time_scale=1.0))


@pytest.fixture
def data() -> Dataset:
    values = 0.3 + 0.5 * torch.randn(4000, 2, generator=torch.Generator().manual_seed(0))
    return Dataset(values, None, "points")


def test_a_perfect_teacher_finds_real_data_no_harder(data) -> None:
    real, own = probe(teacher(0.3, 0.5), data, count=4000, steps=100)
    assert real / own == pytest.approx(1, abs=0.05)


def test_a_wrong_teacher_finds_real_data_harder(data) -> None:
    """E ||f - y||^2 grows by E ||f - f*||^2, here by the difference of the two means alone."""
    real, own = probe(teacher(0.9, 0.5), data, count=4000, steps=100)
    t = (torch.arange(2000) + 0.5) / 2000  # a mean off by d moves f by -d (1 + (1 - t) (t - (1 - t) s^2) / v)
    v = (1 - t) ** 2 * 0.25 + t**2
    extra = 2 * (0.6 * (1 + (1 - t) * (t - (1 - t) * 0.25) / v)).square().mean()
    assert real - own == pytest.approx(float(extra), rel=0.1)


def test_advice_says_what_it_is_based_on(data) -> None:
    good, bad = advise(teacher(0.3, 0.5), data, steps=100), advise(teacher(1.5, 0.5), data, fine_tune=True)
    assert (good.alpha, good.beta, bad.alpha, bad.beta) == (0.92, 0.94, 0.92, 0.86)
    assert "about as well" in good.reasons[1] and "something to correct" in bad.reasons[1]
    assert all("not measured" in advice.reasons[2] for advice in (good, bad))


def test_teachers_of_pairs_get_no_advice(data) -> None:
    model = MatchingModel(Exact(0.3, 0.5), make_path("brownian_bridge"), "data_prediction")
    with pytest.raises(ConfigError, match="Gaussian sources"):
        probe(model, data)


def test_the_command(tmp_path, capsys) -> None:
    from conftest import small_teacher

    from realuid.models import save_pretrained

    folder = save_pretrained(small_teacher(num_classes=10), tmp_path / "t")
    assert main(["advise", "demo", "--teacher", str(folder), "--count", "40", "--steps", "2"]) == 0
    assert "try alpha = 0.98, beta = 0.96" in capsys.readouterr().out
