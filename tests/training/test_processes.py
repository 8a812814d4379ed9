from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from realuid.errors import ConfigError
from realuid.training import DistillConfig
from realuid.training.checkpoints import Checkpoints
from realuid.training.execution import choose_execution
from realuid.training.sharding import place

HERE = Path(__file__).parent
#: Units whose weights are gathered, and gradients exchanged, at a time: two blocks down, one, two up, and the rest.
UNITS = 6


def alone(script: str, *arguments: str) -> None:
    """Run a script in one process."""
    _carry_out([sys.executable, str(HERE / script), *arguments])


def in_two(script: str, *arguments: str) -> None:
    """Run a script in two processes, with gloo."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    _carry_out([*launch, str(HERE / script), *arguments])


def _carry_out(command: list[str]) -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Warning" not in done.stderr.replace("HealthWarning", ""), done.stderr[-2000:]  # of a teacher of two updates


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> dict:
    path = tmp_path_factory.mktemp("one") / "result"
    alone("train_in_two.py", str(path))
    return torch.load(path, weights_only=True)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["copied", "shard"])
def test_two_processes_give_the_result_of_one(how: str, one: dict, tmp_path: Path) -> None:
    """Half the batch each: players and averages, clipped gradients, end within 1e-5 of one process's.

    In float64, so that what is compared is the algorithm and not the order of sums that Adam's first steps magnify.
    """
    in_two("train_in_two.py", str(tmp_path / "two"), *([how] if how == "shard" else []))
    two = torch.load(tmp_path / "two", weights_only=True)
    assert (one["world"], two["world"]) == (1, 2)
    assert one["state"].keys() == two["state"].keys() and len(one["state"]) > 500
    worst = max((one["state"][k] - two["state"][k]).abs().max().item() for k in one["state"])
    assert worst < 1e-5
    for task, values in one["values"].items():
        assert two["values"][task] == pytest.approx(values, rel=1e-6), task
    assert one["values"]["teacher"]["teacher/grad_norm"] > 1  # so that it is clipped
    if how == "shard":
        check_shares(two["accounts"], two["exchanges"])
    else:
        assert all(most == whole for kinds in two["accounts"].values() for most, whole in kinds.values())


def check_shares(accounts: dict[str, dict[str, tuple[int, int]]], exchanges: dict[str, int]) -> None:
    """No process holds more than half of anything, but for tensors of odd length, such as those of one row, which are
    nearly half of the smallest network; the player whose turn it is, and no
    other, exchanges gradients, once a part of the batch.
    """
    for task, kinds in accounts.items():
        assert {"weights", "gradients", "adam", "averages"} <= kinds.keys()
        for kind, (most, whole) in kinds.items():
            assert whole / 2 <= most < (0.85 if task == "own" else 0.505) * whole, (task, kind)
    # two steps of the fake model and one of the generator
    assert exchanges["game"] == 2 * UNITS + UNITS
    # batches of eight a process in threes; a discriminator, and its fake model, is one unit
    assert exchanges["gan"] == 3 + 3 * UNITS
    assert exchanges["teacher"] == 3 * UNITS
    assert exchanges["own"] == 1 + 1


@pytest.mark.slow
def test_a_split_run_goes_on_in_one_process_and_the_other_way_round(tmp_path: Path) -> None:
    """Checkpoints, quick FDs, pictures and models of runs that are split for all of their updates, or for some."""

    def plan(name: str, *words: str) -> str:
        return ":".join([name.split("-")[0], str(tmp_path / name), *words])

    alone("runs_in_two.py", plan("student-one", "4"), plan("student-one-two", "2"), plan("own-one", "4"))
    in_two(
        "runs_in_two.py",
        plan("student-two-one", "2", "shard"),
        plan("student-one-two", "4", "shard", "resume"),
        plan("own-two", "4", "shard"),
    )
    alone("runs_in_two.py", plan("student-two-one", "4", "resume"))
    for whole, names in (("student-one", ("student-one-two", "student-two-one")), ("own-one", ("own-two",))):
        for name in names:
            assert_same_run(tmp_path / whole, tmp_path / name)
    execution = json.loads((tmp_path / "student-one-two" / "machine.json").read_text())["execution"]
    assert execution["shard"] is True
    assert json.loads((tmp_path / "student-one" / "machine.json").read_text())["execution"]["shard"] is False


def assert_same_run(one: Path, two: Path) -> None:
    weights, optimizers, meta = Checkpoints.read(Checkpoints(one / "checkpoints").latest()[1])
    weights_two, optimizers_two, meta_two = Checkpoints.read(Checkpoints(two / "checkpoints").latest()[1])
    assert meta["update"] == meta_two["update"] == 4
    assert weights.keys() == weights_two.keys() and optimizers.keys() == optimizers_two.keys()
    for name, tensors in weights.items():
        torch.testing.assert_close(weights_two[name], tensors, rtol=0, atol=1e-9)
    for name, saved in optimizers.items():
        torch.testing.assert_close(optimizers_two[name]["optimizer"]["state"], saved["optimizer"]["state"])
    fds, fds_two = ([e["fd"] for e in json.loads((r / "history.json").read_text())] for r in (one, two))
    assert len(fds) == 2 and fds_two == pytest.approx(fds, rel=1e-6)
    for picture in ("0000002.png", "0000004.png"):
        assert (one / "samples" / picture).read_bytes() == (two / "samples" / picture).read_bytes()
    for model in ("best", "model"):
        saved, saved_two = (load_file(r / model / "model.safetensors") for r in (one, two))
        assert saved.keys() == saved_two.keys() and len(saved) > 3
        torch.testing.assert_close(saved_two, saved, rtol=0, atol=1e-9)
        assert {p.name for p in (one / model).iterdir()} == {p.name for p in (two / model).iterdir()}


def test_compiled_networks_are_not_split() -> None:
    with pytest.raises(ConfigError, match="shard = True with compile = True"):
        DistillConfig(shard=True, compile=True)


def test_one_process_has_nothing_to_split() -> None:
    assert not choose_execution(DistillConfig(shard=True), torch.device("cpu")).shard


def test_weights_that_cannot_be_split_are_named() -> None:
    module = torch.nn.Linear(2, 3)
    module.scale = torch.nn.Parameter(torch.ones(()))
    with pytest.raises(ConfigError, match=r"none of them a scalar; the Linear has others: scale\. Leave shard out"):
        place(module, torch.device("cpu"), shard=True)
    with pytest.raises(ConfigError, match="contiguous weights of one dtype"):
        place(torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2).half()), torch.device("cpu"), shard=True)
