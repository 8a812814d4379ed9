"""What counts as the same bits, and that a table with a difference says so."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

spec = importlib.util.spec_from_file_location("same_bits", Path(__file__).parents[2] / "benchmarks" / "same_bits.py")
same_bits = importlib.util.module_from_spec(spec)
sys.modules["same_bits"] = same_bits
spec.loader.exec_module(same_bits)

ONE, TWO = np.float32([1.0, 2.0]), np.float32([[4.0], [3.0]])


def counts(old: dict, new: dict) -> tuple[int, int, int, int, int]:
    one = same_bits.compare_arrays(old, new)
    return one.same, one.renamed, one.gone, one.new, one.different


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        ({"a": ONE, "b": TWO}, (2, 0, 0, 0, 0)),
        ({"a": ONE, "c": TWO}, (1, 1, 0, 0, 0)),
        ({"a": TWO, "b": ONE}, (0, 0, 0, 0, 2)),
        ({"a": ONE}, (1, 0, 1, 0, 0)),
        ({"a": ONE, "b": TWO, "c": TWO}, (2, 0, 0, 1, 0)),
        ({"a": np.nextafter(ONE, np.float32(9)), "b": TWO}, (1, 0, 0, 0, 1)),
        ({"a": ONE.astype("float64"), "b": TWO.T}, (0, 0, 0, 0, 2)),
    ],
)
def test_tensors_are_compared_bit_by_bit(new: dict, expected: tuple[int, ...]) -> None:
    assert counts({"a": ONE, "b": TWO}, new) == expected


def test_the_largest_difference_is_relative_to_the_largest_value() -> None:
    one = same_bits.compare_arrays({"a": ONE, "b": TWO}, {"a": ONE + 1, "b": TWO + 1})
    assert (one.worst, one.where) == (0.5, "a")
    assert same_bits.relative_difference(ONE, ONE * np.nan) == float("inf")


def test_a_folder_without_weights_is_not_the_same(tmp_path, capsys) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "empty").mkdir()
    save_file({"a": ONE}, tmp_path / "full" / "model.safetensors")
    for new, good in (("full", True), ("empty", False)):
        rows = {("vp", "teacher"): same_bits.compare_folders(tmp_path / "full", tmp_path / new)}
        assert same_bits.report(rows, details=True) == good
    assert not same_bits.report({("vp", "teacher"): {}}, details=False)
    assert "not the same tensors" in capsys.readouterr().out
