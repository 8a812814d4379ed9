from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch

SCRIPT = Path(__file__).parent / "train_in_two.py"


def test_two_processes_give_the_result_of_one(tmp_path: Path) -> None:
    """Half the batch each, with gloo: generators, fake models, discriminator, teacher end within 1e-5 of one process.

    In float64, so that what is compared is the algorithm and not the order of sums that Adam's first steps magnify.
    """
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", str(SCRIPT)]
    for name, command in (("one", [sys.executable, str(SCRIPT)]), ("two", launch)):
        done = subprocess.run([*command, str(tmp_path / name)], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr[-2000:]
    one, two = (torch.load(tmp_path / name, weights_only=True) for name in ("one", "two"))
    assert (one["world"], two["world"]) == (1, 2)
    worst = max((one["state"][k] - two["state"][k]).abs().max().item() for k in one["state"])
    assert worst < 1e-5
    assert one["state"].keys() == two["state"].keys() and len(one["state"]) > 50
