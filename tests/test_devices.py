"""One rule: CUDA where there is one, the CPU everywhere else."""

from __future__ import annotations

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
