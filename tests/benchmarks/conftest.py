"""A recipe and features of which any will do, for benchmarks in miniature."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from realuid.metrics import features

TINY = {
    "name": "tiny",
    "data": {"conditional": True},
    "network": {"channels": [8], "blocks": 1, "attention_at": []},
    "teacher": {"updates": 2, "batch": 16, "device": "cpu"},
    "distill": {"updates": 2, "batch": 16, "fake_updates": 1, "device": "cpu", "quick_samples": 70},
    "evaluate": {"samples": 70, "seeds": 1, "steps": 2},
}


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    """Of a benchmark's command line: the recipe, one seed, a folder."""
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    return ["--recipe", str(tmp_path / "tiny.yaml"), "--seeds", "1", "--out", str(tmp_path / "out")]


@pytest.fixture(autouse=True)
def quick_classifier(monkeypatch) -> None:
    """Any features will do here."""
    real = features.train_classifier
    monkeypatch.setattr(features, "train_classifier", lambda data, seed=0: real(data, seed, updates=5))
