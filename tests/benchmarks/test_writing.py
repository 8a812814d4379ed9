"""The benchmark of writers in miniature."""

from __future__ import annotations

import json
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks import writing  # noqa: E402


def test_every_writer_has_a_row(tmp_path: Path, capsys) -> None:
    rows = writing.main(["--count", "6", "--side", "8", "--rounds", "2", "--out", str(tmp_path / "writing.json")])
    names = ["zip", "tar with classes", "folder"]
    assert [row["name"] for row in rows] == names
    assert all(len(row["seconds"]) == 2 and min(row["seconds"]) > 0 for row in rows)
    assert [row["name"] for row in json.loads((tmp_path / "writing.json").read_text())] == names
    shown = capsys.readouterr().out
    assert all(f"| {name} |" in shown for name in names)
