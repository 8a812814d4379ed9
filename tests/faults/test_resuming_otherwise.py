"""Runs that are resumed with something else than they were started with, and checkpoints among a user's own files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from realuid.errors import ConfigError
from realuid.training import DistillConfig
from realuid.training.checkpoints import Checkpoints, DamagedCheckpointWarning


def save(checkpoints: Checkpoints, *steps: int) -> None:
    for step in steps:
        checkpoints.save(step, {"w": {"x": torch.ones(1)}}, {}, {"update": step})


def test_a_copy_of_a_checkpoint_is_left_alone(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=1)
    save(checkpoints, 600)
    for name in ("600", "00000600", "\u0661"):
        shutil.copytree(checkpoints.at(600), tmp_path / name)
    save(checkpoints, 700)
    assert checkpoints.steps() == [700] and checkpoints.latest()[0] == 700
    assert sorted(p.name for p in tmp_path.iterdir()) == ["00000600", "0000700", "600", "\u0661"]


def test_damaged_checkpoints_are_not_kept_in_place_of_whole_ones(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=2)
    save(checkpoints, 600, 800, 1000)
    (checkpoints.at(1000) / "meta.json").write_text("damaged")
    save(Checkpoints(tmp_path, keep=3), 600)
    checkpoints = Checkpoints(tmp_path, keep=2)
    with pytest.warns(DamagedCheckpointWarning):
        assert checkpoints.latest()[0] == 800
    save(checkpoints, 850, 900)
    assert checkpoints.steps() == [850, 900] and checkpoints.at(1000).is_dir()
    save(checkpoints, 1000, 1050)
    assert checkpoints.steps() == [1000, 1050] == Checkpoints(tmp_path).steps()


def test_data_may_be_moved_but_not_replaced(moons: Path, tmp_path: Path, realuid) -> None:
    out, here, there = tmp_path / "run", tmp_path / "data", tmp_path / "moved"
    assert realuid("prepare", "toy:moons", here)[0] == 0
    assert realuid("train", moons, "--data.source", here, "--out", out)[0] == 0
    here.rename(there)
    resume = ("train", "--resume", "--updates", 6, "--out", out, "--data.source")
    code, said = realuid(*resume, "toy:spiral")
    assert code == 2 and "was made with another data" in said, said
    assert realuid(*resume, there)[0] == 0
    about = json.loads((out / "model" / "config.json").read_text())
    assert about["data"]["source"] == str(there) and about["trained"]["update"] == 6


@pytest.mark.parametrize("kind", ["train", "distill"])
def test_another_start_is_refused(kind: str, moons: Path, points_teacher: Path, tmp_path: Path, realuid) -> None:
    """Before, it was ignored, and recorded as true."""
    teacher = ("--teacher", points_teacher, "--trust-teacher") if kind == "distill" else ()
    for name in ("a", "b"):
        assert realuid(kind, moons, *teacher, "--out", tmp_path / name)[0] == 0
    start = ("--start", tmp_path / "a")
    assert realuid(kind, moons, *teacher, *start, "--out", tmp_path / "c")[0] == 0
    for run in ("b", "c"):
        code, said = realuid(kind, "--resume", "--updates", 6, "--start", tmp_path / run, "--out", tmp_path / run)
        assert code == 2 and "with --resume: the run goes on with what it was started with" in said, said
    assert realuid(kind, "--resume", "--updates", 6, *start, "--out", tmp_path / "c")[0] == 0


@pytest.mark.parametrize("command", ["train", "distill", "sweep", "demo"])
def test_fp16_on_a_cpu_is_refused_before_anything_is_written(command, moons, points_teacher, tmp_path, realuid) -> None:
    words = {"train": ["--precision"], "distill": ["--precision"], "sweep": ["--distill.precision"]}
    words = [*words.get(command, ["--distill.precision"]), "fp16"]
    words += ["--teacher", points_teacher, "--trust-teacher"] if command in ("distill", "sweep") else []
    code, said = realuid(command, moons, *words, "--out", tmp_path / "run")
    assert code == 2 and "precision = fp16 on a CPU: it needs a GPU" in said, said
    assert not (tmp_path / "run").exists()


def test_no_adapters_with_the_base_of_a_recipe() -> None:
    assert DistillConfig(lora_rank=0, lora_base="bf16").lora_rank == 0
    with pytest.raises(ConfigError, match="lora_dora = True without adapters"):
        DistillConfig(lora_dora=True)
