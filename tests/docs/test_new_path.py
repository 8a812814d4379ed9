"""The guide to new paths does what it says, and the path it adds passes closed-form checks."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from exact import exact_teacher, marginal
from oracles import FAMILIES, Family, world

from realuid.paths import PATHS
from realuid.sampling import as_batch, heun

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "new-path.md"


@pytest.fixture
def guide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict:
    """The names that the guide's code defines, after all of it has run; the path is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert len(blocks) == 3
    names: dict = {"__name__": "guide"}
    try:
        monkeypatch.setitem(sys.modules, "guide", types.ModuleType("guide"))  # where dataclasses look up annotations
        for block in blocks:
            exec(compile(block, str(GUIDE), "exec"), names)
        yield names
    finally:
        PATHS.pop("quadratic", None)


def test_the_guide_runs_and_its_path_is_right(guide: dict, monkeypatch) -> None:
    assert guide["points"].shape == (8, 2) and guide["points"].isfinite().all()
    assert guide["student"].model.path == guide["QuadraticPath"]()
    assert (Path("runs/student") / "model" / "config.json").is_file()

    monkeypatch.setitem(FAMILIES, "quadratic", Family("quadratic", lambda t: (1 - t * t, t, 0.0)))
    teacher = exact_teacher("quadratic", world(False), "velocity")
    (m0, s0), (m1, s1) = (marginal("quadratic", world(False), t) for t in (0.9, 0.2))
    x = torch.tensor([[-1.0], [0.5]], dtype=torch.float64) * s0 + m0

    def error(steps: int) -> float:
        times = torch.linspace(0.9, 0.2, steps + 1, dtype=torch.float64)
        got = heun(lambda x, t: teacher.estimate(x, as_batch(t, x)), x, times, torch.randn_like)
        return float((got - ((x - m0) / s0 * s1 + m1)).abs().max())

    assert np.log2(error(64) / error(128)) == pytest.approx(2, abs=0.15)
