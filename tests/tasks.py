"""Distillation in small, as tests take it apart."""

from __future__ import annotations

from conftest import small_teacher

from realuid.data import Dataset
from realuid.training import DistillConfig, DistillTask
from realuid.training.accelerate import make_accelerator


def distill_task(data: Dataset, classes: int = 0, **settings) -> DistillTask:
    """Of a tiny teacher with random weights, on the CPU; two fake updates of 16 images unless told otherwise."""
    config = DistillConfig(**{"batch": 16, "fake_updates": 2, "device": "cpu", **settings})
    return DistillTask(small_teacher(num_classes=classes), data, config, make_accelerator(config))
