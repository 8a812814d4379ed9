"""The benchmark of reading in miniature."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks import reading  # noqa: E402


@pytest.mark.slow
def test_every_kind_of_data_has_a_row(tmp_path: Path, capsys) -> None:
    pytest.importorskip("datasets", reason="needs the extra realuid[data]")
    small = ["--count", "1200", "--encoded", "40", "--side", "8", "--batch", "4", "--steps", "4", "--pause", "0"]
    rows = reading.main([*small, "--out", str(tmp_path / "reading.json")])
    names = ["arrays on disk, cold", "arrays on disk", "PNG on disk", "memory"]
    assert [row["name"] for row in rows] == names
    assert all(row["images_per_second"] > 0 and row["draw"] > 0 and row["peak_gib"] > 0.1 for row in rows)
    assert json.loads((tmp_path / "reading.json").read_text())["rows"] == rows
    assert all(f"| {name} |" in capsys.readouterr().out for name in names[:1])
