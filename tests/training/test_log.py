"""What a run tells, and to whom."""

from __future__ import annotations

import json
import sys
import time
import types
from pathlib import Path

import pytest
import torch
from conftest import small_teacher

from realuid.errors import ConfigError
from realuid.training import TeacherConfig, train_teacher
from realuid.training.accelerate import make_accelerator
from realuid.training.log import RunLog, Throughput

CONFIG = TeacherConfig(updates=2, batch=8, log_every=1, device="cpu")


class FakeWandb(types.ModuleType):
    """Remembers what it is told."""

    def __init__(self) -> None:
        super().__init__("wandb")
        self.started: list[dict] = []
        self.logged: list[tuple[int, dict]] = []
        self.finished = 0

    def init(self, **settings) -> FakeWandb:
        self.started.append(settings)
        return self

    def log(self, values: dict, step: int, **_) -> None:
        self.logged.append((step, values))

    def finish(self) -> None:
        self.finished += 1


def test_wandb_is_told_beside_tensorboard(digits, tmp_path: Path, monkeypatch) -> None:
    wandb = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    monkeypatch.setattr("realuid.training.log.is_wandb_available", lambda: True)
    config = TeacherConfig(updates=2, batch=8, log_every=1, device="cpu", wandb="mine")
    train_teacher(small_teacher(), digits, config, tmp_path / "run")
    (settings,) = wandb.started
    assert (settings["project"], settings["name"], settings["config"]["batch"]) == ("mine", "run", 8)
    assert [step for step, _ in wandb.logged] == [1, 2] and wandb.logged[0][1]["teacher/loss"] > 0
    assert wandb.finished == 1
    assert list((tmp_path / "run" / "tensorboard").glob("events.out.tfevents.*"))


def test_wandb_that_is_not_installed_stops_before_anything_is_written(digits, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("realuid.training.log.is_wandb_available", lambda: False)
    with pytest.raises(ConfigError, match=r"wandb = mine needs the extra: pip install 'realuid\[wandb\]'"):
        train_teacher(small_teacher(), digits, TeacherConfig(device="cpu", wandb="mine"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_infinite_gradient_of_fp16_leaves_valid_json(tmp_path: Path) -> None:
    log = RunLog(tmp_path, make_accelerator(CONFIG), 2, "run")
    log.write(1, {"fake/grad_norm": float("inf"), "gap_by_time": [0.5, None]})
    log.close()

    def refuse(constant: str):
        raise AssertionError(f"{constant} is no JSON")

    line = json.loads((tmp_path / "metrics.jsonl").read_text(), parse_constant=refuse)
    assert line == {"update": 1, "fake/grad_norm": None, "gap_by_time": [0.5, None]}


def test_a_process_may_change_its_device(monkeypatch) -> None:
    """accelerate keeps the first one; a stand-in for CUDA, since there need not be one here."""
    assert make_accelerator(CONFIG).device == torch.device("cpu")
    monkeypatch.setattr("realuid.training.accelerate.choose_device", lambda name: torch.device("cuda"))
    monkeypatch.setattr("accelerate.state.PartialState.default_device", torch.device("meta"))
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    assert make_accelerator(CONFIG).device == torch.device("meta") and not torch.backends.cudnn.benchmark
    monkeypatch.undo()
    assert make_accelerator(CONFIG).device == torch.device("cpu")


def test_images_per_second_leaves_pauses_out(monkeypatch) -> None:
    now = [100.0]
    monkeypatch.setattr("realuid.training.log.time.perf_counter", lambda: now[0])
    throughput = Throughput()
    throughput.images = 60
    now[0] += 2
    with throughput.paused():  # an evaluation
        now[0] += 10
    now[0] += 1
    assert throughput.read() == 20


def test_a_run_does_not_count_its_evaluations(digits, tmp_path: Path, monkeypatch) -> None:
    """Evaluations of half a second each: a run that counted them would make at most 32 images a second."""

    class Slow:
        data, extractor = digits, types.SimpleNamespace(key="slow")

        def score_each(self, samples, kinds, full, part):
            time.sleep(0.5)
            return [types.SimpleNamespace(fd=1.0, diversity=1.0)] * kinds

    config = TeacherConfig(updates=6, batch=16, log_every=1, evaluate_every=1, device="cpu")
    train_teacher(small_teacher(), digits, config, tmp_path / "run", evaluator=Slow())
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    rates = [line["images_per_second"] for line in lines if "images_per_second" in line]
    assert max(rates[1:]) > 32
