"""benchmarks/mixture.py compares methods of equal cost."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from realuid.training import DistillConfig

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.mixture import METHODS, settings_of

#: Forward passes per image of the batch, counted by hand for K = 2: images 1, two fake steps, the generator's step 7.
BY_HAND = {
    "uid": 1 + 2 * 3 + 7,
    "mixture": 1 + 2 * (3 + 1) * 2 + 7,  # as many real images, and the teacher on all
    "gan-3": (1 + 1) + 2 * (3 + 3) + (7 + 3 + 1),  # judged images: made, half a pass each of both kinds, deceiving
    "teacher-then-uid": 1 + 2 * 3 + 7,
}


@pytest.mark.parametrize("method", METHODS)
def test_every_method_costs_as_much_as_uid(method: str) -> None:
    settings = DistillConfig(updates=1000, batch=64, fake_updates=2, device="cpu")
    world = SimpleNamespace(settings=settings)
    config, spent = settings_of(world, method, seed=3)
    share = METHODS[method].get("teacher_share", 0.0)
    assert config.seed == 3 and spent == share * 14 * 64 * 1000
    if method in BY_HAND:
        passes = spent + BY_HAND[method] * 64 * config.updates
        assert passes == pytest.approx(14 * 64 * 1000, rel=2e-3)
