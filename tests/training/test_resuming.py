"""What a checkpoint records besides settings: another form of the model, or other features, are refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from conftest import small_teacher

from realuid.errors import CheckpointError
from realuid.metrics import Evaluator, FeatureExtractor
from realuid.models import MatchingModel, Reversed
from realuid.paths import make_path
from realuid.training import DistillConfig, TeacherConfig, distill_teacher, train_teacher
from realuid.training.resuming import is_longer
from realuid.training.settings import to_dict


class Pixel(FeatureExtractor):
    num_features = 1

    def __init__(self, index: int):
        super().__init__()
        self.index, self.key = index, f"pixel-{index}"

    def forward(self, x):
        return x.flatten(1)[:, self.index : self.index + 1].float()


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (lambda network: MatchingModel(network, make_path("trigonometric")), "path"),
        (lambda network: MatchingModel(network, make_path("linear"), "data_prediction"), "prediction"),
        (lambda network: MatchingModel(network, make_path("linear"), None, Reversed()), "preconditioning"),
        (lambda network: small_teacher(dropout=0.5), "network"),
    ],
)
def test_resuming_on_another_path_is_an_error(model, said: str, digits, tmp_path: Path) -> None:
    """The same weights stand for another model there; of a teacher that learns, and of one that is distilled."""
    mine, other = small_teacher(), model(small_teacher().network)
    train_teacher(mine, digits, TeacherConfig(updates=1, batch=4, device="cpu"), tmp_path / "t")
    distill_teacher(small_teacher(), digits, DistillConfig(updates=1, batch=4, device="cpu"), tmp_path / "s")
    with pytest.raises(CheckpointError, match=rf"made with another {said}\b"):
        config = TeacherConfig(updates=2, batch=4, device="cpu")
        train_teacher(other, digits, config, tmp_path / "t", resume=True)
    with pytest.raises(CheckpointError, match=rf"made with another {said}\b"):
        config = DistillConfig(updates=2, batch=4, device="cpu")
        distill_teacher(other, digits, config, tmp_path / "s", resume=True)


def test_resuming_with_other_times_of_calls_is_an_error(digits, tmp_path: Path, monkeypatch) -> None:
    """As if a later version placed the calls elsewhere by default."""
    config = DistillConfig(updates=1, batch=4, device="cpu", calls=2)
    distill_teacher(small_teacher(), digits, config, tmp_path / "s")
    longer = dataclasses.replace(config, updates=2)
    with monkeypatch.context() as patched:
        patched.setattr("realuid.models.calls.SIGMA_INIT", 1.5)
        with pytest.raises(CheckpointError, match=r"made with another times of calls"):
            distill_teacher(small_teacher(), digits, longer, tmp_path / "s", resume=True)
    distill_teacher(small_teacher(), digits, longer, tmp_path / "s", resume=True)


def test_resuming_with_another_extractor_is_an_error(digits, tmp_path: Path) -> None:
    """Quick FDs of two spaces of features would compete for the best model."""

    config = TeacherConfig(updates=1, batch=4, evaluate_every=1, quick_samples=4, steps=1, device="cpu")
    real = digits.subset(slice(0, 20))
    train_teacher(small_teacher(), real, config, tmp_path / "t", evaluator=Evaluator(real, Pixel(0)))
    longer = dataclasses.replace(config, updates=2)
    with pytest.raises(CheckpointError, match=r"made with another evaluate.extractor\."):
        train_teacher(small_teacher(), real, longer, tmp_path / "t", evaluator=Evaluator(real, Pixel(1)), resume=True)
    train_teacher(small_teacher(), real, longer, tmp_path / "t", evaluator=Evaluator(real, Pixel(0)), resume=True)


def test_what_a_checkpoint_does_not_record_is_not_compared(tmp_path: Path) -> None:
    meta = {"settings": to_dict(TeacherConfig()) | {"data": "d", "path": {"name": "linear"}}}
    inputs = {"data": "d", "path": {"name": "linear", "new": 1}, "network": {}}
    assert not is_longer(TeacherConfig(), inputs, meta, tmp_path)
    with pytest.raises(CheckpointError, match=r"made with another path\b"):
        is_longer(TeacherConfig(), inputs | {"path": {"name": "vp"}}, meta, tmp_path)
