"""Two processes, started by torchrun, do what one does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import small_teacher

from realuid.cli.main import main
from realuid.data import load_dataset
from realuid.models import Generator, save_pretrained
from realuid.processes import Part, _in_turns
from realuid.sampling import generate


def in_two(*arguments: str) -> str:
    """What a command prints when two processes carry it out."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command = [*launch, "-m", "realuid.cli.main", *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "destroy_process_group" not in done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("student") / "model"
    save_pretrained(Generator(small_teacher(num_classes=10)), folder)
    return folder


def test_slices_cover_all_samples_once() -> None:
    for count, size, world in ((10, 3, 2), (1, 5, 3), (12, 3, 4), (7, 1, 2), (0, 4, 2)):
        parts = [Part(rank, world).slices(count, size) for rank in range(world)]
        slices = _in_turns(parts)
        assert [i for s in slices for i in range(s.start, s.stop)] == list(range(count))
        assert all(s.stop - s.start == size for s in slices[:-1])
        assert len(parts[0]) == max(map(len, parts)) and len(parts[0]) - len(parts[-1]) <= 1
    assert _in_turns([[None, 2], [1]]) == [None, 1, 2]  # type: ignore[list-item]


def test_parts_make_the_same_samples() -> None:
    model, labels = Generator(small_teacher(num_classes=3)), torch.arange(11) % 3
    whole = torch.cat(list(generate(model, 11, labels=labels, seed=4, batch=11)))
    parts = [list(generate(model, 11, labels=labels, seed=4, batch=2, part=Part(r, 3))) for r in range(3)]
    assert [len(p) for p in parts] == [2, 2, 2]
    assert torch.allclose(torch.cat(_in_turns(parts)), whole, atol=1e-6)


@pytest.mark.slow
def test_two_processes_sample(student: Path, tmp_path: Path) -> None:
    options = ["sample", str(student), "--count", "45", "--batch", "10", "--device", "cpu", "--out"]
    assert main([*options, str(tmp_path / "one.zip")]) == 0
    said = in_two(*options, str(tmp_path / "two.zip"))
    assert said.count("45 images, by 2 processes") == said.count("images") == 1
    one, two = (load_dataset(str(tmp_path / name)) for name in ("one.zip", "two.zip"))
    assert torch.equal(one.labels, two.labels) and len(two) == 45
    assert (one.values.int() - two.values.int()).abs().max() <= 1  # sums in another order may round otherwise
    assert np.mean((one.values != two.values).numpy()) < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("samples", [1300, 400])
def test_two_processes_evaluate(samples: int, student: Path, tmp_path: Path) -> None:
    """Three batches, or one, so that the second process has none."""
    options = ["evaluate", str(student), "--data.source", "digits", "--device", "cpu", "--samples", str(samples)]
    options += ["--seeds", "1", "--out"]
    assert main([*options, str(tmp_path / "one.json")]) == 0
    in_two(*options, str(tmp_path / "two.json"))
    one, two = (json.loads((tmp_path / name).read_text()) for name in ("one.json", "two.json"))
    assert (one["processes"], two["processes"]) == (1, 2) and two["samples"] == samples
    for name in ("fd_mean", "kid", "precision", "recall"):
        assert two[name] == pytest.approx(one[name], rel=1e-6), name
    assert one["fd_mean"] > 0.1
    for name in ("agreement", "agreement_by_class", "fd_by_class"):
        assert two["classes"][name] == pytest.approx(one["classes"][name], rel=1e-6), name


@pytest.mark.slow
def test_two_processes_train_and_measure_on_the_way(tmp_path: Path) -> None:
    """The weights of either run differ by the order of sums; FDs of their samples with them."""
    options = ["train", "demo", "--updates", "3", "--batch", "16", "--evaluate-every", "3", "--quick-samples", "1100"]
    options += ["--steps", "1", "--device", "cpu", "--sample-every", "0", "--lr", "1e-4", "--out"]
    assert main([*options, str(tmp_path / "one")]) == 0
    assert in_two(*options, str(tmp_path / "two")).count("best quick FD") == 1
    fds = []
    for name, processes in (("one", 1), ("two", 2)):
        assert json.loads((tmp_path / name / "machine.json").read_text())["processes"] == processes
        fds.append(json.loads((tmp_path / name / "history.json").read_text())[0]["fd"])
    assert fds[1] == pytest.approx(fds[0], rel=1e-3)
