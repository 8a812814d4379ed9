"""One rule: CUDA where there is one, the CPU everywhere else."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest
import torch

from realuid.devices import choose_device
from realuid.errors import ConfigError
from realuid.training import DistillConfig


@pytest.mark.parametrize(
    ("name", "there", "chosen"),
    [("auto", True, "cuda"), ("auto", False, "cpu"), ("cpu", True, "cpu"), ("cuda", True, "cuda")],
)
def test_auto_is_cuda_where_there_is_one(name: str, there: bool, chosen: str, monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)  # which has no float64
    assert choose_device(name) == torch.device(chosen)


def test_other_devices_are_refused(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="torch sees no CUDA device"):
        choose_device("cuda")
    for ask in (choose_device, lambda name: DistillConfig(device=name)):
        with pytest.raises(ConfigError, match=r"unknown device 'banana'\. Allowed: auto, cpu, cuda\."):
            ask("banana")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's malloc is told")
def test_memory_of_freed_tensors_is_kept() -> None:
    """Once 84 MiB of tensors have been there three times, the system gives no more pages; else thousands (of 4 KiB)."""
    program = (
        "import resource, torch\n"
        "from realuid.devices import keep_memory\n"
        "keep_memory()\n"
        "faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "def hold(): return sum(map(len, [torch.ones(2**18 * (1 + i % 6)) for i in range(24)]))\n"
        "for _ in range(3): hold()\n"
        "def more():\n"
        "    before = faults()\n"
        "    hold()\n"
        "    return faults() - before\n"
        "print(min(more() for _ in range(5)))\n"  # the kernel may take pages away at any time
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert int(answer.stdout) < 500
