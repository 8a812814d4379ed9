"""Random streams without state."""

from __future__ import annotations

import torch
from conftest import small_teacher

from realuid.seeds import seeded
from realuid.training import TeacherConfig, train_teacher


def test_global_streams_are_as_before() -> None:
    torch.manual_seed(7)
    expected = torch.randn(3)
    torch.manual_seed(7)
    with seeded(1):
        first = torch.randn(3)
    assert torch.equal(torch.randn(3), expected)
    with seeded(1):
        assert torch.equal(torch.randn(3), first)


def test_training_leaves_the_users_streams_alone(digits, tmp_path) -> None:
    teacher = small_teacher()
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    train_teacher(teacher, digits, TeacherConfig(updates=1, batch=4, device="cpu"), tmp_path)
    assert torch.equal(torch.random.get_rng_state(), before)
