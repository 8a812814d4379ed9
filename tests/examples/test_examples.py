"""The examples run as they stand."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

from conftest import small_teacher
from PIL import Image

from realuid.metrics import features, train_classifier
from realuid.models import Generator, save_pretrained

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(monkeypatch, name: str, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")


def test_own_network(monkeypatch, capsys, tmp_path: Path) -> None:
    run(monkeypatch, "own_network.py", tmp_path)
    said = capsys.readouterr().out
    assert "teacher: mean" in said and "student: mean" in said
    assert (tmp_path / "student" / "model" / "model.safetensors").is_file()


def test_sample_and_evaluate(monkeypatch, capsys, tmp_path: Path) -> None:
    monkeypatch.setenv("REALUID_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(features, "train_classifier", lambda data, seed: train_classifier(data, seed, updates=5))
    model = save_pretrained(Generator(small_teacher()), tmp_path / "m")
    run(monkeypatch, "sample_and_evaluate.py", model, tmp_path / "g.png", 40)
    assert "1 network calls a sample" in capsys.readouterr().out
    with Image.open(tmp_path / "g.png") as grid:
        assert grid.size == (8 * 66 + 2, 8 * 66 + 2)
