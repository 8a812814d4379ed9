"""Adam with moments in 8 bits: near Adam, an eighth of a byte for a number more than one, exact to resume."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from conftest import small_teacher
from training.test_loop import StopError, same, stop_at, tensors
from training.test_lora import LORA

from realuid.errors import ConfigError
from realuid.models.networks import quantised
from realuid.training import DistillConfig, distill_teacher
from realuid.training.accelerate import make_accelerator
from realuid.training.distill import DistillTask
from realuid.training.footprint import adam_bytes

EIGHT = {**LORA, "lora_rank": 64, "generator_lr": 1e-3, "fake_lr": 1e-3, "adam_bits": 8}


def test_a_missing_library_is_named(digits, monkeypatch) -> None:
    monkeypatch.setattr(quantised.importlib.util, "find_spec", lambda name: None)
    config = DistillConfig(**EIGHT)
    with pytest.raises(ConfigError, match=r"adam_bits = 8 needs the extra: pip install 'realuid\[bits\]'"):
        DistillTask(small_teacher(), digits, config, make_accelerator(config))


def test_moments_in_8_bits_take_little_and_act_like_adam(digits) -> None:
    pytest.importorskip("bitsandbytes")
    weights = []
    for bits in (32, 8):
        config = DistillConfig(**{**EIGHT, "adam_bits": bits, "adam_betas": (0.9, 0.999)})
        task = DistillTask(small_teacher(), digits, config, make_accelerator(config))
        for update in range(3):
            task.update(update)
        state = task.learner.optimizer.state
        kept = [v for s in state.values() for n, v in s.items() if torch.is_tensor(v) and v.dim() and "qmap" not in n]
        counted = sum(adam_bytes(p, bits) for p in task.learner.parameters)
        assert sum(v.numel() * v.element_size() for v in kept) == counted
        weights.append(torch.cat([p.detach().flatten() for p in task.learner.parameters]))
    start = torch.cat(
        [
            p.detach().flatten()
            for p in DistillTask(small_teacher(), digits, config, make_accelerator(config)).learner.parameters
        ]
    )
    moved = weights[0] - start
    assert torch.nn.functional.cosine_similarity(moved, weights[1] - start, dim=0) > 0.9


@pytest.mark.slow
def test_a_resumed_run_ends_bit_identical(digits, tmp_path: Path, monkeypatch) -> None:
    pytest.importorskip("bitsandbytes")
    distill_teacher(small_teacher(), digits, DistillConfig(**EIGHT), tmp_path / "whole")
    with monkeypatch.context() as patch:
        stop_at(patch, 3)
        with pytest.raises(StopError):
            distill_teacher(small_teacher(), digits, DistillConfig(**EIGHT), tmp_path / "cut")
    distill_teacher(small_teacher(), digits, DistillConfig(**EIGHT), tmp_path / "cut", resume=True)
    assert same(tensors(tmp_path / "whole" / "model"), tensors(tmp_path / "cut" / "model"))
