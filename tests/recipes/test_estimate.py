"""What `--dry-run` says a run will take follows from its system settings and its processes."""

from __future__ import annotations

import dataclasses
import re
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from realuid.models import fingerprint
from realuid.recipes import parse_recipe
from realuid.recipes.estimate import _Probe, _saved, _Stage, describe_student_run, describe_teacher_run
from realuid.recipes.run import new_teacher, recipe_data
from realuid.recipes.spec import NamedTeacher, student_spec, teacher_spec
from realuid.training import TeacherConfig

RECIPE = parse_recipe(
    """
network: {channels: [16, 32], blocks: 1, attention_at: []}
teacher: {updates: 1, batch: 512, device: cpu, precision: fp32}
distill: {updates: 1, batch: 512, fake_updates: 1, device: cpu, precision: fp32, activation_checkpointing: true,
          channels_last: true}
""",
    "here",
)


def gibibytes(**settings) -> float:
    """Printed for a teacher."""
    recipe = dataclasses.replace(RECIPE, teacher=dataclasses.replace(RECIPE.teacher, **settings))
    return float(re.search(r"([\d.]+) GiB", describe_teacher_run(teacher_spec(recipe, Path()))).group(1))


def test_recomputation_and_half_precision_take_less_memory() -> None:
    plain, recomputed, half = gibibytes(), gibibytes(activation_checkpointing=True), gibibytes(precision="bf16")
    assert recomputed < 0.7 * plain and 0.4 * plain < half < 0.7 * plain


class Squares(nn.Module):
    """exp(w x)^2, as a product that keeps the same tensor twice."""

    shape, num_classes, device = (3,), 0, torch.device("cpu")
    path, network = SimpleNamespace(t_min=0.0, t_max=1.0), SimpleNamespace(conditions=())

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.ones(3))

    def forward(self, x, t, condition):
        e = (self.w * x).exp()
        return e * e


def test_a_tensor_kept_by_two_operations_counts_once() -> None:
    autocast = partial(torch.autocast, "cpu", enabled=False)
    for batch in (2, 4):  # three numbers a sample, of four bytes: x, e and, for its square in the loss, e * e
        assert _saved(Squares(), batch, autocast) == 3 * batch * 3 * 4


@pytest.mark.parametrize(("processes", "shard", "expected"), [(1, True, 2.25), (2, False, 1.75), (2, True, 1.125)])
def test_processes_share_the_batch_and_with_shard_the_weights(monkeypatch, processes, shard, expected) -> None:
    of_torchrun = {"RANK": "0", "LOCAL_RANK": "0", "MASTER_ADDR": "::1", "MASTER_PORT": "1"}
    for name, value in {"WORLD_SIZE": str(processes), **of_torchrun}.items():
        monkeypatch.setenv(name, value)
    stage = _Stage("teacher", TeacherConfig(batch=8, shard=shard), copies=5, passes=1.0, kept=1.0)
    # weights, gradients, two moments and one average of 1/4 GiB each; eight images of 1/8 GiB
    assert stage.gibibytes(_Probe(1.0, 2**27), 2**26) == expected


def test_the_teacher_is_left_as_it_was() -> None:
    teacher = new_teacher(RECIPE, recipe_data(RECIPE)).eval()
    before, strides = fingerprint(teacher), [p.stride() for p in teacher.parameters()]
    describe_student_run(student_spec(RECIPE, NamedTeacher(teacher), Path()))
    assert fingerprint(teacher) == before and [p.stride() for p in teacher.parameters()] == strides
    assert not teacher.training and not teacher.network.unet.is_gradient_checkpointing
    assert all(p.grad is None for p in teacher.parameters())
