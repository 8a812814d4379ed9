from __future__ import annotations

import json

from PIL import Image

from realuid.cli.main import main


def test_analyze_writes_plots_and_numbers(tmp_path, capsys) -> None:
    assert main(["analyze", "--out", str(tmp_path)]) == 0
    numbers = json.loads((tmp_path / "analysis.json").read_text())
    assert set(numbers) == {"figure_3", "figure_4", "students", "law_2"}
    for name in ("figure3.png", "figure4.png", "law2.png"):
        assert min(Image.open(tmp_path / name).size) > 300
    said = capsys.readouterr().out
    assert "best beta / alpha = 0.9" in said and "uncovered" not in said and "does not cover" in said
    assert "data_weight = 0.25: zero at a student that is 25% data and 75% teacher" in said
