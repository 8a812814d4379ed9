"""What an error leaves of a run: the updates that are done, from which it continues bit for bit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from conftest import small_teacher
from safetensors.torch import load_file

from realuid.data import Dataset
from realuid.metrics import Evaluator, FeatureExtractor
from realuid.training import DistillConfig, TeacherConfig, distill_teacher
from realuid.training import loop as loops
from realuid.training.accelerate import make_accelerator
from realuid.training.batches import Batches
from realuid.training.checkpoints import Checkpoints
from realuid.training.loop import Run
from realuid.training.player import Player
from realuid.training.task import Callback
from realuid.training.teacher import TeacherTask

CONFIG = TeacherConfig(updates=6, batch=8, log_every=2, evaluate_every=3, quick_samples=8, steps=2, device="cpu")


class OneFeature(FeatureExtractor):
    num_features, key = 1, "mean"

    def forward(self, x):
        return x.flatten(1).float().mean(1, keepdim=True)


def go(folder: Path, data: Dataset, config: TeacherConfig = CONFIG, resume: bool = False, *callbacks: Callback) -> None:
    accelerator = make_accelerator(config)
    run = Run(TeacherTask(small_teacher(), data, config, accelerator), config, folder, accelerator)
    run.evaluator, run.callbacks = Evaluator(data.subset(slice(0, 50)), OneFeature()), callbacks
    run.start(resume)


def told(folder: Path) -> list[dict]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "images_per_second"} for line in lines]


def steps(folder: Path) -> list[int]:
    return Checkpoints(folder / "checkpoints").steps()


@pytest.fixture
def whole(digits, tmp_path: Path) -> Path:
    go(tmp_path / "whole", digits)
    return tmp_path / "whole"


def check_goes_on(folder: Path, whole: Path, data: Dataset) -> None:
    """The run ends as the whole one."""
    go(folder, data, CONFIG, True)
    for model in ("model", "best"):
        weights, expected = (load_file(f / model / "model.safetensors") for f in (folder, whole))
        assert all(torch.equal(value, expected[name]) for name, value in weights.items())
    assert told(folder) == told(whole)
    assert (folder / "history.json").read_text() == (whole / "history.json").read_text()
    metas = [Checkpoints.read(Checkpoints(f / "checkpoints").at(6))[2] for f in (folder, whole)]
    assert metas[0] == metas[1] and [entry["update"] for entry in metas[0]["history"]] == [3, 6]


@pytest.mark.parametrize("at", [3, 6])
def test_an_evaluation_that_fails_costs_no_update_and_is_made_again(at: int, whole, digits, tmp_path, monkeypatch):
    real = loops.evaluate_averages

    def evaluate(task, *rest):
        if task.ema.updates == at:
            raise MemoryError
        return real(task, *rest)

    monkeypatch.setattr(loops, "evaluate_averages", evaluate)
    with pytest.raises(MemoryError):
        go(tmp_path / "run", digits)
    assert steps(tmp_path / "run") == [0, at]
    monkeypatch.undo()
    check_goes_on(tmp_path / "run", whole, digits)


@pytest.mark.parametrize(("at", "what"), [(4, "teacher/loss"), (6, "teacher/loss"), (3, "fd"), (6, "fd")])
def test_a_callback_that_fails_costs_no_update(at: int, what: str, whole, digits, tmp_path: Path) -> None:
    def callback(update, values) -> None:
        if update == at and what in values:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        go(tmp_path / "run", digits, CONFIG, False, callback)
    assert steps(tmp_path / "run") == [0, at]
    check_goes_on(tmp_path / "run", whole, digits)


def test_data_that_fails_costs_no_update(whole, digits, tmp_path: Path, monkeypatch) -> None:
    real = Batches.real

    def draw(self, role, number, count):
        if number == 4:
            raise OSError("the share is gone")
        return real(self, role, number, count)

    monkeypatch.setattr(Batches, "real", draw)
    with pytest.raises(OSError, match="the share is gone"):
        go(tmp_path / "run", digits)
    assert steps(tmp_path / "run") == [0, 4]
    monkeypatch.undo()
    check_goes_on(tmp_path / "run", whole, digits)


def test_a_run_killed_before_its_evaluation_is_recorded_makes_it_once(whole, digits, tmp_path, monkeypatch) -> None:
    real = Run._save

    def save(self) -> None:
        if self.progress.update == 6 and self.progress.history[-1]["update"] == 6:
            raise KeyboardInterrupt  # the line of the evaluation is in metrics.jsonl already
        real(self)

    monkeypatch.setattr(Run, "_save", save)
    with pytest.raises(KeyboardInterrupt):
        go(tmp_path / "run", digits)
    assert told(tmp_path / "run") == told(whole)
    monkeypatch.undo()
    check_goes_on(tmp_path / "run", whole, digits)


def test_half_an_update_is_not_saved(digits, tmp_path: Path, monkeypatch) -> None:
    """The fake model has made its step, the student has not."""
    real = Player.step

    def step(self, number):
        if (self.name, number) == ("generator", 2):
            raise MemoryError
        return real(self, number)

    monkeypatch.setattr(Player, "step", step)
    config = DistillConfig(updates=4, batch=8, fake_updates=1, device="cpu")
    with pytest.raises(MemoryError):
        distill_teacher(small_teacher(), digits, config, tmp_path / "run")
    assert steps(tmp_path / "run") == [0]
