"""The speed benchmark in miniature: workers take turns, the published script is run as it is, tables add up."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.speed import __main__ as speed  # noqa: E402
from benchmarks.speed import ours, tables  # noqa: E402
from benchmarks.speed.ours import teacher_of  # noqa: E402
from benchmarks.speed.sampling import diffusers_ddim, sampling_rates  # noqa: E402
from benchmarks.speed.worker import Worker  # noqa: E402
from realuid.models import Condition  # noqa: E402

#: A stranger's training script with the published one's name and the imports that get stand-ins.
SCRIPT = """
import sys, torch
from torchvision import datasets, transforms
from tqdm import trange
from cleanfid import fid
print("talks on its standard output")
data = datasets.CIFAR10(root="./data", train=True, transform=transforms.Compose([transforms.ToTensor()]))
with trange(0, 100, dynamic_ncols=True) as bar:
    for step in bar:
        open(sys.argv[sys.argv.index("--output_dir") + 1] + "/../steps", "a").write(f"{step} {len(data)}\\n")
"""


def test_the_published_script_is_stopped_between_its_updates(tmp_path: Path) -> None:
    (tmp_path / "train_distil.py").write_text(
        SCRIPT.replace('sys.argv[sys.argv.index("--output_dir") + 1] + "/..', f'"{tmp_path}" + "')
    )
    worker = Worker("theirs", "benchmarks.speed.peer", [str(tmp_path), "checkpoint", "4"], 1)
    answers = [worker.block() for _ in range(2)]
    worker.quit()
    assert (tmp_path / "steps").read_text().split("\n")[:-1] == [f"{i} 2048" for i in range(12)]
    assert all(a["seconds"] > 0 and a["peak_bytes"] > 2**20 for a in answers)


def test_a_worker_that_dies_is_named(tmp_path: Path) -> None:
    worker = Worker("theirs", "benchmarks.speed.peer", [str(tmp_path), "checkpoint", "4"], 1)
    with pytest.raises(RuntimeError, match=r"worker 'theirs' ended with code 1"):
        worker.block()


#: A worker that halves its batches in its second block.
HALVING = """
from benchmarks.speed.worker import serve
parts = iter([1, 2])
serve(lambda: {"parts": {"fake": next(parts)}})
"""


def test_a_worker_that_halves_its_batches_is_refused(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "halving.py").write_text(HALVING)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    worker = Worker("ours", "halving", [], 1)
    worker.block()
    with pytest.raises(RuntimeError, match=r"'ours' ran out of memory.*\{'fake': 1\} parts and now into \{'fake': 2\}"):
        worker.block()
    worker.quit()


@pytest.mark.slow
def test_the_tables_in_miniature(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(speed, "growth", lambda deadline: [])
    size = ["--channels", "8", "16", "--side", "8", "--batch", "4", "--rounds", "1"]
    results = speed.main([*size, "--levers", "ours", "equal batches", "--out", str(tmp_path / "speed.json")])
    assert json.loads((tmp_path / "speed.json").read_text()) == results
    mine, equal = results["updates"]
    assert mine["images_per_second"] == pytest.approx(24 / mine["seconds"])
    assert 0 < mine["outside the networks"] < 1 and mine["rounds"] == equal["rounds"] == 1
    assert mine["parts"] == {"generator": 1, "fake": 1}
    assert len(mine["blocks"]) == 2 and mine["seconds"] == mine["blocks"][1]
    (row,) = results["roofline"]
    assert 0 < row["share"] < 2 and row["flop/s"] == pytest.approx(row["flops"] / mine["seconds"])
    rates = results["sampling"]
    assert max(rates["teacher, 50 Euler steps"], rates["diffusers' DDIM, 50 steps"]) < rates["one step"] / 10
    shown = capsys.readouterr().out
    assert "| ours |" in shown and "sampling, diffusers' DDIM, 50 steps: " in shown


def test_the_stopwatch_counts_outermost_calls_and_backward_passes(monkeypatch) -> None:
    monkeypatch.setattr(torch.autograd, "backward", torch.autograd.backward)  # put back after the test
    ticks = iter(range(100))
    monkeypatch.setattr(ours.time, "process_time", lambda: next(ticks))
    watched, other = teacher_of("-", [8, 16], 8), teacher_of("-", [8, 16], 8)
    x, t = torch.randn(4, 3, 8, 8), torch.rand(4)
    watch = ours.Stopwatch(watched)
    other(x, t), watched.network(x, t, Condition())
    assert watch.read() == 0
    watched(x, t).mean().backward()
    assert watch.read() == 2 and watch.read() == 0 and next(ticks) == 4  # two intervals of one tick each
    watched.register_forward_pre_hook(lambda *_: watch.begin())  # calls within calls
    watched.register_forward_hook(lambda *_: watch.end())
    watched(x, t)
    assert watch.read() == 1


def test_diffusers_ddim_calls_the_teachers_weights_fifty_times() -> None:
    teacher, calls = teacher_of("-", [8, 16], 8).eval(), []
    pipeline = diffusers_ddim(teacher)
    pipeline.unet.register_forward_hook(lambda *call: calls.append(call[1][0].shape))
    x, t = torch.randn(4, 3, 8, 8), torch.tensor([0.0, 1.0, 500.0, 999.0])
    with torch.no_grad():
        assert torch.allclose(pipeline.unet(x, t).sample, teacher.network(x, t, Condition()), atol=1e-5)
    del calls[:]
    images = pipeline(batch_size=4, num_inference_steps=50, output_type="np").images
    assert images.shape == (4, 8, 8, 3) and calls == [(4, 3, 8, 8)] * 50
    rates = sampling_rates(teacher, 4, lambda seconds: False)
    assert set(rates.values()) == {None} and len(rates) == 4


class Scripted:
    """A contestant whose blocks take the seconds that it is told."""

    def __init__(self, name: str, *seconds: float):
        self.name, self.answers, self.seconds = name, [], iter(seconds)

    def block(self) -> dict:
        taken = next(self.seconds)
        self.answers.append({"seconds": taken, "processor_seconds": taken, "peak_bytes": 2**30})
        return self.answers[-1]


def test_medians_are_of_the_rounds_after_the_warm_up(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    worker = Scripted("ours", 9.0, 1.0, 4.0, 2.0)
    (row,) = speed.contest([worker], 3, speed.Deadline(1))
    assert row["blocks"] == [9.0, 1.0, 4.0, 2.0] and row["seconds"] == 2.0 and row["rounds"] == 3
    row |= dict.fromkeys(["images_per_second", "times the authors'", "memory / the authors'"])
    assert tables.cells_of(row) == ["ours", "3", "2.00", "1.00 - 4.00", "-", "-", "1.00", "-", "-", "-"]


def test_what_does_not_fit_into_the_time_is_left_out(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    workers = [Scripted(name, 50.0) for name in ("theirs", "ours", "another")]
    rows = speed.contest(workers, 3, speed.Deadline(0.5))  # half a minute is left, a block takes fifty seconds
    assert [row["blocks"] for row in rows] == [[50.0], [50.0], []]
    assert all(row["seconds"] is None and row["rounds"] == 0 for row in rows)
    options = argparse.Namespace(batch=4, size={})
    assert speed.roofline(options, "-", [{"name": "ours", "seconds": 50.0}], speed.Deadline(0.5)) == []
    shown = []
    for row in rows:
        row |= dict.fromkeys(["images_per_second", "times the authors'", "memory / the authors'"])
        shown.append(tables.cells_of(row)[2])
    assert shown == ["warm-up only: 50.00", "warm-up only: 50.00", "left out"]
    grown = speed.growth(speed.Deadline(0))
    assert len(grown) == 8 and {row["seconds"] for row in grown} == {None}


def test_growth_is_the_median_of_three_updates(monkeypatch) -> None:
    now, turns = [0.0], []

    class Task:
        teacher = argparse.Namespace(device=torch.device("cpu"))

        def __init__(self, name: str, size: dict):
            self.size = size

        def update(self, number: int) -> None:
            turns.append(self.size)
            now[0] += [100.0, 1.0, 7.0, 2.0][number]

    monkeypatch.setattr(speed, "task_of", Task)
    monkeypatch.setattr(speed, "clock", lambda device: now[0])
    rows = speed.growth(speed.Deadline(60))
    assert [row["seconds"] for row in rows] == [2.0] * 8
    assert len(turns) == 32 and turns[0] == turns[3] != turns[4]
    assert tables.grown(rows[0]) == ["16", "16", "[32, 64]", "2.000", "1.000 - 7.000"]


def test_compilation_is_left_to_gpus_unless_asked_for(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert set(speed.LEVERS) - set(speed.usual_levers()) == {"compiled", "compiled, bf16"}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert speed.usual_levers() == list(speed.LEVERS)


def test_a_gpu_is_asked_for_in_vain(capsys, monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit):
        speed.main(["--gpu"])
    assert "torch sees no CUDA device" in capsys.readouterr().err
