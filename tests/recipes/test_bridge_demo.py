"""A demo of a coupled path, in small: figures of restored pairs in results.json, report and table."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

import realuid.metrics.features as features
from realuid.cli.demo import results_table
from realuid.cli.main import main
from realuid.data import load_dataset, to_float, to_uint8
from realuid.loaders import load_generator
from realuid.metrics import train_classifier
from realuid.models import Condition
from realuid.recipes import FAMILIES, load_recipe, parse_recipe
from realuid.recipes.demo import run_demo

RECIPE = """
data: {source: digits, pairs: sr-box-2}
network: {channels: [8, 16], blocks: 1, attention_at: []}
path: {name: brownian_bridge, settings: {noise: 0.5}}
teacher: {updates: 2, batch: 8, device: cpu}
distill: {updates: 1, batch: 8, fake_updates: 1, device: cpu, noise: false}
students: {plain: {}}
evaluate: {samples: 60, seeds: 2, steps: 2}
"""


def test_pairs_are_measured_and_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "train_classifier", lambda data, seed: train_classifier(data, seed, updates=5))
    results = run_demo(parse_recipe(RECIPE, "small"), tmp_path / "demo", say=lambda text: None)
    assert json.loads((tmp_path / "demo" / "results.json").read_text()) == results
    student = load_generator(tmp_path / "demo" / "plain")  # without noise: a function of its inputs
    data = load_dataset("digits", pairs="sr-box-2")
    truth, source = (getattr(data, name)[torch.arange(60) % len(data)] for name in ("values", "sources"))
    with torch.no_grad():
        x = to_uint8(student(torch.zeros(60, *data.shape), Condition(source=to_float(source))))
    restored, source, truth = (t.numpy().astype(float) for t in (x, source, truth))
    psnr = np.mean([10 * math.log10(255**2 / ((a - b) ** 2).mean()) for a, b in zip(restored, truth, strict=True)])
    blocks = restored.reshape(60, 1, 4, 2, 4, 2).mean((3, 5)).round().repeat(2, 2).repeat(2, 3)
    (row,) = results["students"]
    assert row["psnr"] == pytest.approx(psnr, abs=0.01)
    assert row["consistency"] == pytest.approx(math.sqrt((((blocks - source) / 127.5) ** 2).mean()), rel=0.01)
    assert results["teacher"]["psnr"] != row["psnr"]
    assert [c.header for c in results_table(results).columns][5:8] == ["PSNR\ndB", "RMS to\ninput", "right\nclass"]
    report = (tmp_path / "demo" / "report.html").read_text()
    assert f"{results['students'][0]['psnr']:.2f} dB" in report and "<th>consistency</th>" in report


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_its_recipe(family: str, capsys) -> None:
    recipe = load_recipe(FAMILIES[family])
    assert main(["demo", "--family", family, "--dry-run"]) == 0
    assert capsys.readouterr().out.startswith(f"name: {FAMILIES[family]}\n")
    assert main(["demo", f"--family={family}", "--dry-run", "--evaluate.steps", "7"]) == 0
    assert "steps: 7" in capsys.readouterr().out
    assert recipe.students and recipe.path.build().coupled == (family == "bridge")
