"""Adapters of text-conditioned networks: two processes are one, a resumed run is the whole one, files hold adapters."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from text_networks import TEXT_NETWORKS
from training.test_loop import StopError, same, stop_at

from realuid.data import Dataset
from realuid.models import MatchingModel, example
from realuid.paths import LinearPath
from realuid.training import DistillConfig
from realuid.training.accelerate import make_accelerator
from realuid.training.checkpoints import Checkpoints
from realuid.training.distill import DistillTask
from realuid.training.loop import Run

HERE = Path(__file__).parent


def launched(script: str, out: Path, processes: int, *how: str) -> subprocess.CompletedProcess[str]:
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"] if processes > 1 else []
    path = os.pathsep.join([str(HERE.parent), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    command = [sys.executable, *launch, str(HERE / script), str(out), *how]
    return subprocess.run(command, capture_output=True, text=True, timeout=1800, env=environment)


def run_script(out: Path, processes: int, *how: str) -> dict:
    done = launched("adapters_in_two.py", out, processes, *how)
    assert done.returncode == 0, done.stderr[-2000:]
    return torch.load(out, weights_only=True)


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> dict:
    return run_script(tmp_path_factory.mktemp("one") / "one", 1)


@pytest.mark.slow
@pytest.mark.parametrize("how", [(), ("shard",)])
def test_two_processes_give_the_result_of_one(one: dict, how: tuple[str, ...], tmp_path: Path) -> None:
    """Adapters, averages and whole models; with every process holding the shared network, and with half of it each."""
    two = run_script(tmp_path / "two", 2, *how)
    assert (one["world"], two["world"]) == (1, 2)
    assert one["state"].keys() == two["state"].keys() and len(one["state"]) > 100
    for name, value in one["state"].items():
        torch.testing.assert_close(two["state"][name], value, rtol=0, atol=1e-6)
    assert set(one["shares"].values()) == {1.0}
    assert all(share < 0.6 if how else share == 1.0 for share in two["shares"].values())


class Loop(Run):
    """A run whose network cannot be saved as a model: it ends with its last checkpoint."""

    def _finish(self) -> torch.nn.Module:
        return self.task.learner.module


CONFIG = DistillConfig(
    updates=4, batch=4, fake_updates=1, device="cpu", ema=(0.9,), lora_rank=2, fake_start="teacher", save_every=1
)


def run(make, folder: Path, resume: bool = False) -> dict[str, torch.Tensor]:
    """Four updates; everything in the last checkpoint."""
    torch.manual_seed(0)
    network = make()
    columns = dict(example(network.conditions, 16, torch.Generator().manual_seed(0)))
    data = Dataset(torch.randn(16, *network.shape), columns=columns)
    accelerator = make_accelerator(CONFIG)
    task = DistillTask(MatchingModel(network, LinearPath()), data, CONFIG, accelerator)
    Loop(task, CONFIG, folder, accelerator).start(resume)
    return last_checkpoint(folder)


def leaves(state: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Tensors and numbers of nested dictionaries and lists."""
    if isinstance(state, torch.Tensor | int | float):
        yield place, state
    elif isinstance(state, dict | list | tuple):
        for name, value in state.items() if isinstance(state, dict) else enumerate(state):
            yield from leaves(value, f"{place}.{name}")


def last_checkpoint(folder: Path) -> dict[str, torch.Tensor]:
    """Weights, averages and the state of optimisers, by their place."""
    update, place = Checkpoints(folder / "checkpoints").latest()
    files, optimizers, _ = Checkpoints.read(place)
    assert update == CONFIG.updates
    found = {f"{file}.{name}": value for file, held in files.items() for name, value in held.items()}
    found |= {f"optimizer {place}": torch.as_tensor(value) for place, value in leaves(optimizers)}
    return found


@pytest.mark.slow
@pytest.mark.parametrize("make", TEXT_NETWORKS)
def test_a_resumed_run_is_the_whole_one_and_checkpoints_hold_adapters_only(make, tmp_path: Path, monkeypatch) -> None:
    whole = run(make, tmp_path / "whole")
    with monkeypatch.context() as patch:
        stop_at(patch, 2)
        with pytest.raises(StopError):
            run(make, tmp_path / "cut")
    cut = run(make, tmp_path / "cut", resume=True)
    assert same(whole, cut)
    weights = [name for name in whole if not name.startswith("optimizer")]
    assert all("lora_" in name for name in weights if not name.endswith("updates"))
    moved = [v for name, v in whole.items() if name.startswith("generator") and "lora_B" in name]
    assert any(v.abs().max() > 0 for v in moved)  # B begins with zeros


@pytest.mark.slow
def test_a_sharded_run_that_was_killed_is_resumed_to_the_same_bits(tmp_path: Path) -> None:
    """Two processes, each with half of the shared network; one of them is killed in the midst of an update."""
    script = "sharded_adapters.py"
    assert launched(script, tmp_path / "whole", 2, "whole").returncode == 0
    cut = launched(script, tmp_path / "cut", 2, "cut")
    assert cut.returncode and "SIGKILL" in cut.stderr
    assert Checkpoints(tmp_path / "cut" / "checkpoints").latest()[0] == 2
    assert launched(script, tmp_path / "cut", 2, "resumed").returncode == 0
    for run_ in ("whole", "cut"):
        about = torch.load(tmp_path / run_ / "about.pt")
        assert about["world"] == 2 and about["share"] < 0.6
    whole, again = (last_checkpoint(tmp_path / name) for name in ("whole", "cut"))
    assert same(whole, again) and any(name.startswith("optimizer") for name in whole)
