"""A student of several calls from training to samples and figures: every number of calls, in one pass."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import realuid
from realuid.cli.main import main
from realuid.data import Dataset
from realuid.errors import ConfigError
from realuid.metrics import Evaluator, FeatureExtractor
from realuid.models import MatchingModel, NetworkConfig, Student, build_network, save_pretrained
from realuid.paths import make_path
from realuid.recipes import EvaluateConfig
from realuid.recipes.evaluate import evaluate_model
from realuid.sampling import generate, generate_each_call
from realuid.training import DistillConfig, distill_teacher


class Pixels(FeatureExtractor):
    """Eight pixels as features."""

    def __init__(self) -> None:
        super().__init__()
        self.key, self.num_features = "pixels", 8

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.float().flatten(1)[:, :8] / 255


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    monkeypatch.setenv("REALUID_CACHE", str(tmp_path / "cache"))
    values = torch.randint(0, 256, (40, 1, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return Dataset(values, torch.arange(40) % 5, "noise", tuple("01234"), sources=255 - values)


def teacher(path: str = "linear", classes: int = 0) -> MatchingModel:
    torch.manual_seed(0)
    config = NetworkConfig(channels=(8, 16), blocks=1, attention_at=())
    made = make_path(path)
    return MatchingModel(build_network(config, (1, 8, 8), classes, sees_source=made.coupled), made).eval()


@pytest.fixture
def student() -> Student:
    return Student(teacher(), calls=3).eval()


def test_fewer_calls_are_the_first_ones_of_the_same_rollout(student) -> None:
    each = [torch.cat(x) for x in zip(*generate_each_call(student, 7, seed=4), strict=True)]
    assert len(each) == 3 and not torch.allclose(each[0], each[2], atol=1e-3)
    for calls, expected in enumerate(each, 1):
        assert torch.equal(realuid.sample(student, 7, seed=4, calls=calls), expected)
        shorter = Student(student.model, student.times[:calls])
        assert torch.equal(torch.cat(list(generate(shorter, 7, seed=4))), expected)
    assert torch.equal(realuid.sample(student, 7, seed=4), each[-1])
    for model, calls, says in (
        (student, 4, "calls = 4: the student makes 3, so allowed is 1 to 3"),
        (student, 0, "calls = 0: the student makes 3, so allowed is 1 to 3"),
        (Student(teacher()), 2, "calls = 2: the student makes 1, so allowed is 1"),
        (teacher(), 2, "calls = 2: the model is a teacher. Leave calls out, or pass steps"),
    ):
        with pytest.raises(ConfigError, match=says):
            realuid.sample(model, 2, calls=calls)


def test_the_command_samples_with_fewer_calls(student, tmp_path, capsys) -> None:
    folder = save_pretrained(student, tmp_path / "student")
    for calls in (1, 3):
        out = tmp_path / str(calls)
        words = ["sample", folder, "--out", out, "--count", 4, "--calls", calls, "--device", "cpu"]
        assert main([str(word) for word in words]) == 0
        pictures = torch.stack([torch.tensor(np.asarray(Image.open(f))) for f in sorted(out.rglob("*.png"))])
        expected = realuid.sample(student, 4, calls=calls)[:, 0]
        assert ((pictures - 127.5) / 127.5 - expected.clamp(-1, 1)).abs().max() < 0.005
    words = ["sample", folder, "--out", tmp_path / "4", "--count", 4, "--calls", 4]
    assert main([str(word) for word in words]) == 2
    assert "calls = 4: the student makes 3, so allowed is 1 to 3" in capsys.readouterr().err


@pytest.mark.parametrize("path", ["linear", "brownian_bridge"])
def test_every_number_of_calls_is_measured_in_one_pass(data, path, monkeypatch) -> None:
    model = Student(teacher(path), calls=3).eval()
    evaluator, config = Evaluator(data, Pixels()), EvaluateConfig(samples=30, seeds=2)
    rollouts: list[int] = []
    real = Student.predictions
    monkeypatch.setattr(Student, "predictions", lambda self, *a: rollouts.append(len(a[0])) or real(self, *a))
    monkeypatch.setattr(Student, "forward", None)
    measured = evaluate_model(model, evaluator, config)
    assert rollouts == [30, 30] and measured.calls == 3 and [e.calls for e in measured.by_calls] == [1, 2, 3]
    monkeypatch.undo()
    for calls, entry in enumerate(measured.by_calls, 1):
        alone = evaluate_model(model.first_calls(calls), evaluator, config)
        assert (entry.fd, entry.kid, entry.recall) == (alone.fd, alone.kid, alone.recall)
        assert entry.restoration == alone.restoration and bool(alone.restoration) == (path == "brownian_bridge")
        assert calls < 3 or (alone.fd, alone.restoration) == (measured.fd, measured.restoration)
    told = measured.to_dict()
    assert [entry["fd_mean"] for entry in told["by_calls"]] == [sum(e.fd) / 2 for e in measured.by_calls]
    assert "by_calls" not in evaluate_model(model.first_calls(1), evaluator, config, full=False).to_dict()


def test_quick_fds_of_every_number_of_calls_are_logged(data, tmp_path) -> None:
    settings = {"updates": 2, "batch": 8, "fake_updates": 1, "evaluate_every": 1, "quick_samples": 20, "device": "cpu"}
    config = DistillConfig(calls=2, ema=(0.9, 0.5), **settings)
    distill_teacher(teacher(), data, config, tmp_path / "run", evaluator=Evaluator(data, Pixels()))
    history = json.loads((tmp_path / "run" / "history.json").read_text())
    for entry in history:
        assert entry["fd"] == entry["fd/calls_2"] == entry["fd/ema_0.9"] != entry["fd/calls_1"]
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["fd/calls_1"] for line in lines if "fd" in line] == [entry["fd/calls_1"] for entry in history]
