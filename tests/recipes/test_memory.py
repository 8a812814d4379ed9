"""`--dry-run --for 24GB`: the parts' peaks, and settings that fit."""

from __future__ import annotations

from pathlib import Path

import pytest

from realuid.cli.main import main
from realuid.errors import ConfigError
from realuid.recipes import parse_recipe
from realuid.recipes.memory import bytes_of, describe_memory
from realuid.recipes.run import new_teacher, recipe_data
from realuid.recipes.spec import NamedTeacher, student_spec
from realuid.training import DistillConfig
from realuid.training.footprint import Footprint

RECIPE = parse_recipe(
    """
network: {channels: [16, 32], blocks: 1, attention_at: []}
distill: {updates: 1, batch: 512, fake_updates: 1, device: cpu, precision: fp32}
""",
    "here",
)


@pytest.mark.parametrize(
    ("size", "expected"), [("24GB", 24e9), ("24", 24e9), ("22.5 GiB", 22.5 * 2**30), ("900mib", 900 * 2**20)]
)
def test_sizes_are_read(size: str, expected: float) -> None:
    assert bytes_of(size) == expected


@pytest.mark.parametrize("size", ["", "much", "24 TB", "0GB", "-1"])
def test_what_is_no_size_is_named(size: str) -> None:
    with pytest.raises(ConfigError, match="such as 24GB"):
        bytes_of(size)


def test_for_belongs_to_a_dry_run(capsys) -> None:
    assert main(["distill", "demo", "--for", "24GB", "--teacher", "nowhere"]) == 2
    assert "without --dry-run" in capsys.readouterr().err


def test_what_does_not_fit_is_said_and_what_does_is_proposed(monkeypatch) -> None:
    """Counts are stand-ins: 2 GiB of weights, an eighth with nf4, and 1/64 GiB of activations an image."""

    def count(teacher: object, config: DistillConfig, tokens: int = 77) -> Footprint:
        weights = 2**31 // (8 if config.lora_base == "nf4" else 1)
        activations = 2**24 * (config.micro_batch or config.batch) // (4 if config.activation_checkpointing else 1)
        return Footprint({"teacher: weights": weights}, {"fake update": weights + activations, "generator update": 0})

    monkeypatch.setattr("realuid.recipes.memory.footprint", count)
    run = student_spec(RECIPE, NamedTeacher(new_teacher(RECIPE, recipe_data(RECIPE))), Path())
    roomy = describe_memory(run, "24GB")  # 22.35 GiB
    assert "teacher: weights: 2.00 GiB" in roomy and "peak of the fake update" in roomy and ": 10.00 GiB" in roomy
    assert roomy.endswith("fits: 11.35 GiB are left")
    assert describe_memory(run, "4GiB").endswith("This does, with a peak of 2.02 GiB: --micro-batch 1")
    leanest = describe_memory(run, "1.5GiB")
    options = "--micro-batch 1 --activation-checkpointing --lora-rank 64 --fake-start teacher --lora-base nf4"
    assert leanest.endswith(f"with a peak of 0.25 GiB: {options}")
    assert describe_memory(run, "1GiB").endswith(f"nor does the leanest: {options} takes 0.25 GiB")
