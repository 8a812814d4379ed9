"""Figures of the comparison of two versions, from blocks with known times."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.speed.versions import checkout, compare  # noqa: E402


class Timed:
    """A worker whose blocks take the seconds that it is given."""

    def __init__(self, seconds: list[float], peak: int):
        self.left, self.peak, self.answers = seconds, peak, []

    def block(self) -> None:
        self.answers.append({"processor_seconds": self.left[len(self.answers)], "peak_bytes": self.peak})


def test_ratios_are_of_one_round_and_the_first_round_does_not_count() -> None:
    then, now = Timed([9.0, 1.0, 2.0, 4.0], 100), Timed([1.0, 1.1, 2.0, 6.0], 110)
    result = compare(then, now, rounds=3)
    assert result["seconds"] == [2.0, 2.0]
    assert result["seconds ratio"] == 1.1  # of 1.1, 1 and 1.5
    assert result["memory ratio"] == 1.1


def test_a_commit_is_checked_out_beside_this_tree(tmp_path: Path) -> None:
    tree = checkout("HEAD", tmp_path / "tree")
    assert (tree / "src" / "realuid" / "__init__.py").is_file() and (
        tree / "benchmarks" / "speed" / "ours.py"
    ).is_file()
