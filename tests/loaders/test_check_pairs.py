"""Teachers of pairs are checked on pairs: against closed forms, seeing their source or not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from realuid.cli.main import main
from realuid.data import Dataset
from realuid.errors import CheckpointError, DataError, PredictionError
from realuid.loaders.check import LEVELS, check_teacher, require_sound
from realuid.models import MatchingModel, Network, NetworkConfig, Plain, build_network, save_pretrained
from realuid.paths import make_path

PATH = make_path("brownian_bridge", noise=0.5)
#: Standard deviation of what is added to data of +-1 in its source.
S = 1.5


class Exact(Network):
    """E[x_0 | x_t (, x_T)] for independent pixels of +-1 and sources x_T = x_0 + S n."""

    shape = (4,)

    def __init__(self, sees_source: bool):
        super().__init__({})
        self.sees_source = sees_source

    def forward(self, x, time, condition):
        k = PATH.coefficients(time).expand(x)
        if self.sees_source:
            x_T = condition["source"]
            return torch.tanh(x_T / S**2 + k.a * (x - k.b * x_T) / k.c**2)
        return torch.tanh((k.a + k.b) * x / (k.b**2 * S**2 + k.c**2))


def signs(count: int = 5000) -> Dataset:
    random = torch.Generator().manual_seed(0)
    x_0 = torch.randint(2, (count, 4), generator=random) * 2.0 - 1
    return Dataset(x_0, sources=x_0 + S * torch.randn(x_0.shape, generator=random))


def model(sees_source: bool, prediction: str = "data_prediction") -> MatchingModel:
    return MatchingModel(Exact(sees_source), PATH, prediction, Plain(time_scale=1.0))


@pytest.mark.parametrize("sees_source", [True, False])
def test_the_trivial_error_is_that_of_the_best_linear_denoiser(sees_source):
    """v c^2 / (a^2 v + c^2), v the variance of x_0 given x_T; or the variance of x_0 that is left given x_t alone."""
    found = check_teacher(model(sees_source), signs(), images=5000).declared
    for level, trivial, error in zip(LEVELS, found.trivial, found.errors, strict=True):
        k = PATH.coefficients(torch.tensor([PATH.time_at_noise_ratio(level)], dtype=torch.float64))
        a, b, c = (float(v) for v in (k.a, k.b, k.c))
        v = S**2 / (1 + S**2)
        expected = v * c**2 / (a**2 * v + c**2)
        if not sees_source:
            expected = 1 - (a + b) ** 2 / ((a + b) ** 2 + b**2 * S**2 + c**2)
        assert trivial == pytest.approx(expected, rel=0.04)
        assert error < trivial


@pytest.mark.parametrize("sees_source", [True, False])
def test_what_a_network_of_pairs_predicts_is_found(sees_source):
    assert check_teacher(model(sees_source), signs()).ok
    require_sound(model(sees_source), signs())
    wrong = check_teacher(model(sees_source, "drift"), signs())
    assert not wrong.ok and wrong.best.reading.prediction == "data_prediction"
    assert "this network seems to predict data, not drift" in wrong.verdict
    with pytest.raises(CheckpointError, match="predict data, not drift"):
        require_sound(model(sees_source, "drift"), signs())


def test_what_cannot_be_checked_says_why():
    with pytest.raises(DataError, match="a coupled path needs pairs"):
        check_teacher(model(True), Dataset(signs().values))
    with pytest.raises(PredictionError, match="cannot turn velocity into data_prediction"):
        check_teacher(model(False, "velocity"), signs())


def test_the_command_takes_pairs_and_distillation_asks(tmp_path: Path, capsys):
    torch.manual_seed(0)
    network = build_network(NetworkConfig(channels=(8, 16), blocks=1, attention_at=()), (1, 8, 8), sees_source=True)
    folder = save_pretrained(MatchingModel(network, PATH), tmp_path / "untrained")
    words, pairs = ["check-teacher", str(folder), "--out", str(tmp_path / "x.png")], ["--data.pairs", "sr-box-2"]
    assert main([*words, "--images", "16", *pairs]) == 2
    printed = capsys.readouterr()
    assert "does not denoise" in printed.err and "(declared)" in printed.out and (tmp_path / "x.png").is_file()
    assert main(words) == 2
    assert "a coupled path needs pairs" in capsys.readouterr().err
    assert main(["distill", "demo", *pairs, "--teacher", str(folder), "--out", str(tmp_path / "run")]) == 2
    assert "trust_teacher" in capsys.readouterr().err and not (tmp_path / "run").exists()
