"""benchmarks/health.py in miniature: three runs on digits, of which two are spoilt."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.health import CASES, main


def test_half_of_the_cases_are_spoilt() -> None:
    spoilt = [case for case in CASES.values() if case.cause]
    assert (len(spoilt), len(CASES)) == (10, 20) and len({case.cause for case in spoilt}) == 5


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::realuid.training.health.HealthWarning")
def test_the_monitor_names_what_is_wrong_and_leaves_sound_runs_alone(tmp_path: Path) -> None:
    """Distilled from one teacher; the checkpoint is measured with other noise and more samples."""
    which = [
        "--set",
        "miniature",
        "--out",
        str(tmp_path),
        "--only",
        "data-free 0",
        "slow fake",
        "rates times 10, real data",
    ]
    main(["run", *which])
    main(["tables", *which])
    sound, slow, fast = json.loads((tmp_path / "miniature.json").read_text())
    assert sound["raised"] == [] and sound["picked"] < 1.05 * sound["best"]
    assert slow["named"] == ["fake model"] and "the fake model is behind" in slow["text"][0]
    assert fast["named"] == ["learning rates"]
