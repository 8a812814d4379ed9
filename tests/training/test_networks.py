"""Settings that a network does not support are found before anything is trained."""

from __future__ import annotations

from contextlib import nullcontext

import diffusers_folders
import pytest

from realuid.data import load_dataset
from realuid.errors import ConfigError
from realuid.models import MatchingModel, NetworkConfig, build_network
from realuid.models.networks.base import DiT
from realuid.paths import LinearPath
from realuid.training import DistillConfig
from realuid.training.compatibility import check_networks, check_settings, check_student_run


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"activation_checkpointing": True}, "cannot recompute its activations"),
        ({"lora_rank": 2, "lora_targets": ("nothing",), "fake_start": "teacher"}, "lora_targets = nothing: no linear"),
    ],
)
def test_what_a_network_does_not_support_is_told_before_any_run(changes, said) -> None:
    """And of a demo's or sweep's later runs before its first one."""
    data = load_dataset("toy:moons").subset(slice(64)).without_labels()
    teacher = MatchingModel(build_network(NetworkConfig("mlp", (16,), 1), (2,)), LinearPath())
    config = DistillConfig(times=(0.9, 0.4), batch=8, device="cpu", **changes)
    with pytest.raises(ConfigError, match=said):
        check_student_run(teacher, data, config)
    with pytest.raises(ConfigError, match=f"students.a: .*{said}"):
        check_settings(teacher, data, config, "students.a")


def test_a_fake_model_that_cannot_be_told_the_call_is_found_before_any_run() -> None:
    """An adapter on a DiT, whose blocks embed the time each for itself."""
    teacher = MatchingModel(DiT(**diffusers_folders.dit().config), LinearPath())
    for adapters, refused in (({}, False), ({"lora_rank": 2, "fake_start": "teacher"}, True)):
        config = DistillConfig(times=(0.9, 0.4), fake_sees_call=True, device="cpu", **adapters)
        with pytest.raises(ConfigError, match="a DiT with adapters has neither") if refused else nullcontext():
            check_networks(teacher, config)
