"""Distillation in small, as tests take it apart."""

from __future__ import annotations

import contextlib
from unittest.mock import patch

import torch
from conftest import small_teacher

from realuid.data import Dataset
from realuid.models import MatchingModel, NetworkConfig, build_network
from realuid.paths import make_path
from realuid.training import DistillConfig, DistillTask
from realuid.training.accelerate import make_accelerator


def distill_task(data: Dataset, classes: int = 0, **settings) -> DistillTask:
    """Of a tiny teacher with random weights, on the CPU; two fake updates of 16 images unless told otherwise."""
    config = DistillConfig(**{"batch": 16, "fake_updates": 2, "device": "cpu", **settings})
    return DistillTask(small_teacher(num_classes=classes), data, config, make_accelerator(config))


def noise(shape=(1, 8, 8)) -> Dataset:
    values = torch.randint(0, 256, (50, *shape), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return Dataset(values, name="noise")


def attentive() -> MatchingModel:
    """A U-Net with attention, and channels enough for fast kernels to be chosen."""
    torch.manual_seed(0)
    config = NetworkConfig(channels=(16, 32), blocks=1, attention_at=(4,), head_channels=16)
    return MatchingModel(build_network(config, (3, 8, 8)), make_path("linear"))


class TurnOverError(Exception):
    """Ends an update after the fake model's turn."""


def fake_turn(task: DistillTask, number: int) -> None:
    """The fake model's turn of an update alone."""
    with patch.object(task, "generator_draws", side_effect=TurnOverError), contextlib.suppress(TurnOverError):
        task.update(number)


def generator_turn(task: DistillTask, number: int) -> dict[str, torch.Tensor]:
    """The generator's turn of an update alone."""
    with patch.object(task, "fake_draws", return_value=[]):
        return task.update(number)
