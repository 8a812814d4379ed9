"""How fast models sample."""

from __future__ import annotations

import pytest

from realuid.recipes import evaluate


def test_slow_models_are_timed_once(digits, monkeypatch) -> None:
    """500 images in 40 s: no second round. In 4 to 7 s: a warm-up and three, whose median counts."""

    for seconds, expected, calls in (([40.0, 1.0], 500 / 40, 1), ([4.0, 5.0, 7.0, 6.0], 500 / 6, 4)):
        left = list(seconds)
        monkeypatch.setattr(evaluate, "_seconds", lambda *_, left=left: left.pop(0))
        assert evaluate.images_per_second({"a": None}, digits, None) == {"a": pytest.approx(expected)}
        assert len(seconds) - len(left) == calls
