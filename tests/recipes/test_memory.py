"""`--dry-run --for 24GB`: the parts' peaks, and settings that fit."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from realuid.cli.main import main
from realuid.errors import ConfigError
from realuid.recipes import parse_recipe
from realuid.recipes.memory import RESERVED, bytes_of, describe_memory
from realuid.recipes.run import new_teacher, recipe_data
from realuid.recipes.spec import NamedTeacher, student_spec

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
    assert main(["distill", "--for", "24GB", "--teacher", "nowhere"]) == 2
    assert "without --dry-run" in capsys.readouterr().err


@pytest.mark.slow
def test_what_does_not_fit_is_said_and_what_does_is_proposed() -> None:
    run = student_spec(RECIPE, NamedTeacher(new_teacher(RECIPE, recipe_data(RECIPE))), Path())
    roomy = describe_memory(run, "24GB")
    assert "fits: " in roomy
    peaks = [float(x) for x in re.findall(r"peak of the (?:fake|generator) update.*: ([\d.]+) GiB", roomy)]
    assert len(peaks) == 2 and 0.05 < max(peaks) < 5
    tight = describe_memory(run, f"{(max(peaks) * 2**30 + RESERVED) * 0.7 / 2**20:.0f}MiB")
    assert re.search(r"does not fit\. This does, with a peak of [\d.]+ GiB: --micro-batch 1\n?$", tight), tight
    assert "nor does the leanest" in describe_memory(run, f"{RESERVED / 2**20 + 1:.0f}MiB")
