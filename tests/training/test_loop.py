"""The loop: resuming, checkpoints, non-finite numbers, best model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from conftest import small_teacher

from realuid.errors import CheckpointError, NonFiniteError
from realuid.files import damage
from realuid.metrics import Evaluator, FeatureExtractor
from realuid.models import Generator, from_pretrained
from realuid.models.saving.folder import read_config
from realuid.training import DistillConfig, TeacherConfig, distill_teacher, train_teacher
from realuid.training.checkpoints import Checkpoints, DamagedCheckpointWarning
from realuid.training.player import Player, learning_rate_factor

TEACHER = {"updates": 12, "batch": 16, "lr": 1e-3, "save_every": 4, "device": "cpu", "log_every": 3, "warmup": 2}
STUDENT = {
    "updates": 8,
    "batch": 16,
    "fake_updates": 2,
    "alpha": 0.92,
    "beta": 0.94,
    "save_every": 2,
    "log_every": 3,  # no multiple of save_every: half a mean must survive in the checkpoint
    "device": "cpu",
    "ema": (0.9, 0.99),
    "lr_decay": "cosine",
}


class StopError(Exception):
    pass


def stop_at(monkeypatch: pytest.MonkeyPatch, update: int) -> None:
    """Make the run die in the middle of an update, as a crash would."""
    real = Player.step

    def step(self, number):
        if number == update:
            raise StopError
        return real(self, number)

    monkeypatch.setattr(Player, "step", step)


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    return from_pretrained(folder).state_dict()


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def metrics(folder: Path) -> list[dict]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "images_per_second"} for line in lines]


def run(kind: str, folder: Path, digits, resume: bool = False, **changes):
    if kind == "teacher":
        return train_teacher(small_teacher(), digits, TeacherConfig(**TEACHER | changes), folder, resume=resume)
    if kind == "judged student":
        changes = {"lambda_g": 1.0, **changes}
    return distill_teacher(small_teacher(), digits, DistillConfig(**STUDENT | changes), folder, resume=resume)


@pytest.mark.parametrize(("kind", "at"), [("teacher", 9), ("teacher", 2), ("student", 5), ("judged student", 5)])
def test_a_resumed_run_ends_bit_identical(kind: str, at: int, digits, tmp_path: Path, monkeypatch) -> None:
    run(kind, tmp_path / "whole", digits)
    with monkeypatch.context() as patch:
        stop_at(patch, at)
        with pytest.raises(StopError):
            run(kind, tmp_path / "cut", digits)
    run(kind, tmp_path / "cut", digits, resume=True)
    assert same(tensors(tmp_path / "whole" / "model"), tensors(tmp_path / "cut" / "model"))
    assert metrics(tmp_path / "cut") == metrics(tmp_path / "whole")


def test_dropout_and_flips_resume_bit_identical(digits, tmp_path: Path, monkeypatch) -> None:
    from realuid.models import MatchingModel, NetworkConfig, build_network
    from realuid.paths import make_path

    def model():
        torch.manual_seed(0)
        config = NetworkConfig(channels=(8, 16), blocks=1, attention_at=(), dropout=0.3)
        return MatchingModel(build_network(config, (1, 8, 8)), make_path("linear"))

    config = TeacherConfig(**TEACHER, flip=True)
    train_teacher(model(), digits, config, tmp_path / "whole")
    with monkeypatch.context() as patch:
        stop_at(patch, 10)
        with pytest.raises(StopError):
            train_teacher(model(), digits, config, tmp_path / "cut")
    train_teacher(model(), digits, config, tmp_path / "cut", resume=True)
    assert same(tensors(tmp_path / "whole" / "model"), tensors(tmp_path / "cut" / "model"))


def test_resuming_what_is_not_there_is_an_error(digits, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nothing to resume: there is no checkpoint"):
        run("teacher", tmp_path / "none", digits, resume=True)


def test_resuming_with_other_settings_is_an_error(digits, tmp_path: Path) -> None:
    run("teacher", tmp_path / "a", digits)
    with pytest.raises(CheckpointError, match=r"made with another lr\."):
        run("teacher", tmp_path / "a", digits, resume=True, lr=5e-4)


def test_a_resumed_run_may_cut_its_batches_otherwise(digits, tmp_path: Path, monkeypatch) -> None:
    """As the error says where one of several processes runs out of memory; in float64 and saved in float32."""
    step, parts = Player.step, set()
    monkeypatch.setattr(Player, "step", lambda self, *args: parts.add(self.accumulation_steps) or step(self, *args))
    torch.set_default_dtype(torch.float64)
    try:
        run("student", tmp_path / "whole", digits)
        with monkeypatch.context() as patch:
            stop_at(patch, 5)
            with pytest.raises(StopError):
                run("student", tmp_path / "cut", digits)
        run("student", tmp_path / "cut", digits, resume=True, micro_batch=3)
    finally:
        torch.set_default_dtype(torch.float32)
    whole, cut = (tensors(tmp_path / name / "model") for name in ("whole", "cut"))
    assert parts == {1, 6} and whole.keys() == cut.keys()
    assert all(torch.allclose(whole[name], cut[name], rtol=0, atol=1e-6) for name in whole)


def test_a_finished_run_goes_on_as_if_planned_longer(digits, tmp_path: Path) -> None:
    run("student", tmp_path / "whole", digits, lr_decay="constant", updates=12)
    run("student", tmp_path / "longer", digits, lr_decay="constant", updates=7)
    run("student", tmp_path / "longer", digits, resume=True, lr_decay="constant", updates=12)
    assert same(tensors(tmp_path / "whole" / "model"), tensors(tmp_path / "longer" / "model"))
    assert read_config(tmp_path / "longer" / "model")["distillation"]["updates"] == 12
    with pytest.raises(CheckpointError, match=r"made with another updates\."):
        run("student", tmp_path / "longer", digits, resume=True, lr_decay="constant", updates=8)


def test_resuming_with_another_teacher_or_other_data_is_an_error(digits, tmp_path: Path) -> None:
    config = DistillConfig(**STUDENT)
    distill_teacher(small_teacher(), digits, config, tmp_path / "a")
    with pytest.raises(CheckpointError, match=r"made with another teacher\."):
        distill_teacher(small_teacher(seed=1), digits, config, tmp_path / "a", resume=True)
    with pytest.raises(CheckpointError, match=r"made with another data\."):
        distill_teacher(small_teacher(), digits.subset(slice(0, 900)), config, tmp_path / "a", resume=True)


def test_what_a_kill_left_behind_is_put_right_on_resuming(digits, tmp_path: Path) -> None:
    run("teacher", tmp_path / "a", digits)
    expected = tensors(tmp_path / "a" / "model")
    (tmp_path / "a" / "checkpoints" / ".0000012.77.tmp").mkdir()
    (tmp_path / "a" / "checkpoints" / ".0000012.77.tmp" / "half.safetensors").write_text("half")
    with (tmp_path / "a" / "metrics.jsonl").open("a") as file:
        file.write('{"update": 12, "teac')
    whole = (tmp_path / "a" / "metrics.jsonl").read_text().rpartition("{")[0]
    run("teacher", tmp_path / "a", digits, resume=True)
    assert (tmp_path / "a" / "metrics.jsonl").read_text() == whole
    assert same(tensors(tmp_path / "a" / "model"), expected)
    assert not [p for p in (tmp_path / "a").rglob("*") if p.name.endswith((".tmp", ".old"))]


def test_a_damaged_checkpoint_is_named_and_the_one_before_used(digits, tmp_path: Path) -> None:
    run("teacher", tmp_path / "a", digits)
    expected = tensors(tmp_path / "a" / "model")
    last = tmp_path / "a" / "checkpoints" / "0000012" / "teacher.safetensors"
    content = bytearray(last.read_bytes())
    content[-1] ^= 1
    last.write_bytes(content)
    with pytest.warns(DamagedCheckpointWarning, match=r"0000012' \(teacher.safetensors does not match.*update 8"):
        run("teacher", tmp_path / "a", digits, resume=True)
    assert same(tensors(tmp_path / "a" / "model"), expected)


def test_only_damaged_checkpoints_is_an_error(digits, tmp_path: Path) -> None:
    run("teacher", tmp_path / "a", digits, keep=1)
    (tmp_path / "a" / "checkpoints" / "0000012" / "meta.json").unlink()
    with pytest.raises(CheckpointError, match=r"every checkpoint is damaged.*meta.json is missing"):
        run("teacher", tmp_path / "a", digits, resume=True, keep=1)


def test_the_last_k_checkpoints_are_kept_whole(digits, tmp_path: Path) -> None:
    run("teacher", tmp_path / "a", digits, keep=2)
    checkpoints = Checkpoints(tmp_path / "a" / "checkpoints")
    assert checkpoints.steps() == [8, 12]
    assert [damage(checkpoints.at(s)) for s in checkpoints.steps()] == [None, None]
    assert not [p for p in (tmp_path / "a").rglob("*") if p.name.endswith((".tmp", ".old"))]


def test_half_a_checkpoint_is_never_seen(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "c")
    checkpoints.save(1, {"w": {"x": torch.ones(2)}}, {}, {})
    with pytest.raises(TypeError):
        checkpoints.save(2, {"w": {"x": torch.ones(2)}}, {}, {"not": object()})
    assert checkpoints.steps() == [1] and [p.name for p in (tmp_path / "c").iterdir()] == ["0000001"]


def test_a_nan_stops_the_run_and_leaves_the_last_checkpoint(digits, tmp_path: Path, monkeypatch) -> None:
    real = Player.step

    def step(self, number):
        values = real(self, number)
        return values | {"teacher/loss": torch.tensor(float("nan"))} if number == 6 else values

    monkeypatch.setattr(Player, "step", step)
    with pytest.raises(
        NonFiniteError, match=r"teacher/loss is nan at update 7 .*untouched: update 4.*lower learning rate"
    ):
        run("teacher", tmp_path / "a", digits)
    assert Checkpoints(tmp_path / "a" / "checkpoints").latest()[0] == 4


class FirstPixel(FeatureExtractor):
    num_features, key = 1, "first-pixel"

    def forward(self, x):
        return x.flatten(1)[:, :1].float()


def test_the_best_model_by_quick_fd_is_the_result(digits, tmp_path: Path, monkeypatch) -> None:
    evaluator = Evaluator(digits, FirstPixel())
    fds = iter([5.0, 9.0, 2.0, 3.0, 4.0, 4.0, 7.0, 7.0])  # two averages at four evaluations

    class Scores:
        diversity = 1.0

        @property
        def fd(self):
            return next(fds)

    monkeypatch.setattr(evaluator, "score_each", lambda samples, kinds, full, part: [Scores()])
    config = DistillConfig(**STUDENT | {"evaluate_every": 2, "quick_samples": 4})
    student = distill_teacher(small_teacher(), digits, config, tmp_path / "s", evaluator=evaluator)
    assert isinstance(student, Generator)
    assert same(student.state_dict(), tensors(tmp_path / "s" / "best"))
    assert not same(student.state_dict(), tensors(tmp_path / "s" / "model"))
    trained = json.loads((tmp_path / "s" / "best" / "config.json").read_text())["trained"]
    assert trained["best"] == {"fd": 2.0, "update": 4, "ema": 0.9}
    history = json.loads((tmp_path / "s" / "history.json").read_text())
    assert [h["fd"] for h in history] == [5.0, 2.0, 4.0, 7.0]
    assert [h["fd/ema_0.99"] for h in history] == [9.0, 3.0, 4.0, 7.0]


def test_learning_rates_rise_and_decay() -> None:
    config = TeacherConfig(updates=100, warmup=10, lr_decay="cosine")
    assert learning_rate_factor(0, config) == pytest.approx(0.1)
    assert learning_rate_factor(50, config) == pytest.approx(0.5)
    assert learning_rate_factor(99, config) < 1e-3
    assert learning_rate_factor(70, TeacherConfig(updates=100)) == 1.0
