"""Runs that two processes want, whose weights or files are damaged, or that a full disk stops."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from conftest import small_teacher
from safetensors.torch import load_file

from realuid.errors import ConfigError, NonFiniteError, StorageError
from realuid.files import atomic_file, atomic_folder
from realuid.locks import WaitingWarning, held
from realuid.models import Generator, save_pretrained
from realuid.training import TeacherConfig, train_teacher
from realuid.training.ema import EMA


def updates(run: Path) -> list[int]:
    return [json.loads(line)["update"] for line in (run / "metrics.jsonl").read_text().splitlines()]


HOLD = """
import pathlib, sys, time
from realuid.locks import held
with held(pathlib.Path(sys.argv[1])):
    print(1, flush=True)
    time.sleep(60)
"""


@contextmanager
def other_process(folder: Path) -> Iterator[subprocess.Popen]:
    """Another process that holds a folder until it is killed."""
    words = [sys.executable, "-c", HOLD, str(folder)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stdout.readline() == "1\n"
        yield process
        process.kill()


# -- m11: two processes in one folder ------------------------------------------------------------------------------


def test_a_second_resume_waits_for_the_first(moons: Path, tmp_path: Path, realuid) -> None:
    out = tmp_path / "run"
    assert realuid("train", moons, "--out", out)[0] == 0
    before = updates(out)
    with other_process(out) as process:
        ended: list[float] = []
        threading.Timer(1.0, lambda: ended.append(time.monotonic()) or process.kill()).start()
        code, said = realuid("train", "--resume", "--updates", 6, "--out", out)
        assert ended and code == 0 and f"another process works in '{out}': waiting for its end" in said
    assert updates(out) == [*before, 6]


@pytest.mark.parametrize("command", ["train", "demo"])
def test_a_new_run_does_not_enter_a_folder_that_another_process_has_begun(
    command: str, moons: Path, tmp_path: Path, realuid
) -> None:
    out = tmp_path / "run"
    with other_process(out):
        code, said = realuid(command, moons, "--out", out)
    assert code == 2 and f"another process works in '{out}'" in said
    assert [p.name for p in out.iterdir()] == [".realuid.lock"]


def test_a_hold_ends_with_its_process(tmp_path: Path) -> None:
    with other_process(tmp_path) as process:
        with pytest.raises(ConfigError, match="another process works in"), held(tmp_path):
            pass
        process.kill()
        process.wait()
        with held(tmp_path):
            pass


def test_waiting_is_said_once(tmp_path: Path) -> None:
    with other_process(tmp_path) as process:
        threading.Timer(0.3, process.kill).start()
        with pytest.warns(WaitingWarning) as told, held(tmp_path, wait=True):
            pass
    assert len(told) == 1


# -- m13: weights that are not finite ------------------------------------------------------------------------------


def test_weights_that_the_last_update_made_infinite_are_not_saved(moons: Path, tmp_path: Path, realuid) -> None:
    out = tmp_path / "run"
    words = ("train", moons, "--lr", "1e300", "--save-every", 1, "--keep", 1, "--out", out)
    code, said = realuid(*words, "--updates", 1)
    assert code == 2 and "are infinite or NaN at update 1" in said
    assert "The last good checkpoint is untouched: update 0" in said
    assert not (out / "model").exists()
    weights = load_file(out / "checkpoints" / "0000000" / "teacher.safetensors")
    assert [p.name for p in (out / "checkpoints").iterdir()] == ["0000000"]
    assert all(torch.isfinite(value).all() for value in weights.values())


def test_averages_are_checked_too(digits, teacher, tmp_path: Path, monkeypatch) -> None:
    update = EMA.update

    def spoil(self) -> None:
        update(self)
        self.averages[self.decays[-1]][0].view(-1)[0] = float("nan")

    monkeypatch.setattr(EMA, "update", spoil)
    config = TeacherConfig(updates=2, batch=8, save_every=2, device="cpu", ema=(0.9, 0.99))
    with pytest.raises(NonFiniteError, match=r"weights \(average 0.99.network.*, 1 in all\) are infinite or NaN"):
        train_teacher(teacher, digits, config, tmp_path / "run")
    assert not (tmp_path / "run" / "model").exists()


def test_grids_and_best_models_are_not_made_of_them(moons: Path, tmp_path: Path, realuid) -> None:
    out = tmp_path / "run"
    words = ("--lr", "1e300", "--sample-every", 1, "--evaluate-every", 1, "--quick-samples", 16)
    assert realuid("train", moons, *words, "--out", out)[0] == 2
    assert not (out / "samples").exists() and not (out / "best").exists()


# -- l03: damaged files of a run -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line", [b'{"update": 99, "x": "\xff"}\n', b"\xff\xfe\n", b"[" * 100_000 + b"\n", b'{"update": 1e999}\n', b"7\n"]
)
def test_damaged_metrics_do_not_stop_a_run(line: bytes, moons: Path, tmp_path: Path, realuid) -> None:
    out = tmp_path / "run"
    assert realuid("train", moons, "--out", out)[0] == 0
    with (out / "metrics.jsonl").open("ab") as file:
        file.write(line)
    assert realuid("train", "--resume", "--updates", 6, "--out", out)[0] == 0
    assert updates(out) == [2, 4, 6]


@pytest.mark.parametrize("content", [b"\xff\xfe", b"[1, 2", b"{", b"[" * 100_000, b'{"teacher": "x"}'])
@pytest.mark.usefixtures("untimed")
def test_a_damaged_stopwatch_does_not_stop_a_demo(content: bytes, moons: Path, tmp_path: Path) -> None:
    from realuid.recipes.stages import DamagedTimesWarning, Stopwatch

    (tmp_path / "seconds.json").write_bytes(content)
    with pytest.warns(DamagedTimesWarning, match="is damaged"):
        watch = Stopwatch(tmp_path, resume=True)
    with watch.stage(tmp_path / "teacher"):
        pass
    assert list(json.loads((tmp_path / "seconds.json").read_text())) == ["teacher"]


@pytest.mark.parametrize("name", ["recipe.yaml", "teacher.txt"])
@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"\xe9t\xe9: 1"])
def test_other_damaged_files_are_named(name: str, content: bytes, moons, points_teacher, tmp_path, realuid) -> None:
    out = tmp_path / "run"
    assert realuid("distill", moons, "--teacher", points_teacher, "--trust-teacher", "--out", out)[0] == 0
    (out / name).write_bytes(content)
    code, said = realuid("distill", "--resume", "--updates", 3, "--out", out)
    assert code == 2 and f"{name}'" in said, said
    if name == "teacher.txt":
        assert realuid("distill", "--resume", "--updates", 3, "--teacher", points_teacher, "--out", out)[0] == 0


def test_a_damaged_result_of_a_trial_is_named(tmp_path: Path) -> None:
    from realuid.errors import CheckpointError
    from realuid.recipes.sweep import read_results

    (tmp_path / "trials" / "000").mkdir(parents=True)
    for content in (b"\xff", b"{", b"[]", b'{"settings": {}}', b"[" * 100_000):
        (tmp_path / "trials" / "000" / "result.json").write_bytes(content)
        with pytest.raises(CheckpointError, match=r"result.json' is damaged. Delete it"):
            read_results(tmp_path)


# -- m07: a disk that is full --------------------------------------------------------------------------------------


@contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """Writing beyond fails as on a full disk (EFBIG in place of ENOSPC)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


WRITING = [
    ("convert", "g", "c"),
    ("export", "g", "c.pt2", "--to", "torch"),
    ("export", "g", "c", "--to", "diffusers"),
    ("export", "g", "c.safetensors", "--to", "safetensors"),
    ("sample", "g", "--out", "c.zip", "--count", 300),
    ("sample", "g", "--out", "c.tar", "--count", 300),
    ("sample", "g", "--out", "c.png", "--count", 3000),
]


@pytest.mark.parametrize("words", WRITING)
def test_a_full_disk_is_said_in_one_line(words, tmp_path: Path, realuid, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    save_pretrained(Generator(small_teacher()), tmp_path / "g")
    with no_file_larger_than(8192):
        code, said = realuid(*words)
    assert code == 2 and "no space left on the device" in said and "cannot write 'c" in said, said
    assert [p.name for p in tmp_path.iterdir()] == ["g"]


def test_a_checkpoint_on_a_full_disk_leaves_the_one_before(moons: Path, tmp_path: Path, realuid) -> None:
    out = tmp_path / "run"
    assert realuid("train", moons, "--out", out)[0] == 0
    with no_file_larger_than(1000):
        code, said = realuid("train", "--resume", "--updates", 6, "--out", out)
    assert code == 2 and "no space left on the device" in said
    assert sorted(p.name for p in (out / "checkpoints").iterdir()) == ["0000002", "0000004"]
    assert realuid("train", "--resume", "--updates", 6, "--out", out)[0] == 0
    assert updates(out) == [2, 4, 6]


def test_it_has_its_own_error(tmp_path: Path) -> None:
    for write in (atomic_file, atomic_folder):
        with no_file_larger_than(100), pytest.raises(StorageError), write(tmp_path / "a") as temporary:
            (temporary / "b" if temporary.is_dir() else temporary).write_bytes(b"0" * 1000)
        with pytest.raises(ZeroDivisionError), write(tmp_path / "a"):
            _ = 1 / 0
    assert not list(tmp_path.iterdir())


# -- l13: modes of files -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_files_follow_the_umask(umask: int, mode: int, tmp_path: Path, realuid) -> None:
    import os

    before = os.umask(umask)
    try:
        model = save_pretrained(Generator(small_teacher()), tmp_path / "g")
        assert realuid("export", model, tmp_path / "a.safetensors", "--to", "safetensors")[0] == 0
        assert realuid("sample", model, "--count", 1, "--out", tmp_path / "images")[0] == 0
    finally:
        os.umask(before)
    written = [tmp_path / "a.safetensors", *model.iterdir(), *(tmp_path / "images").iterdir()]
    assert {path.stat().st_mode & 0o777 for path in written} == {mode}
    assert model.stat().st_mode & 0o777 == mode | (mode & 0o444) >> 2
