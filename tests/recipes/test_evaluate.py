"""How fast models sample."""

from __future__ import annotations

import pytest
from conftest import small_teacher

from realuid.models import Student
from realuid.recipes import EvaluateConfig, evaluate


class Clock:
    """A clock that stands still until a model takes its time."""

    now = 0.0

    def perf_counter(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ({"slow": [40.0, 1.0], "fast": [2.0, 1.0]}, {"slow": 500 / 40, "fast": 500 / 2}),
        ({"one": [9.0, 5.0, 2.0, 3.0], "other": [0.5, 0.5, 0.1, 0.2]}, {"one": 500 / 3, "other": 500 / 0.2}),
    ],
    ids=["after half a minute no second round", "without the warm-up, the median of three"],
)
def test_models_are_timed_in_turns(digits, monkeypatch, seconds, expected) -> None:
    clock, order = Clock(), []
    monkeypatch.setattr(evaluate, "time", clock)

    def takes(name: str):
        def work(*_) -> None:
            clock.now += left[name].pop(0)
            order.append(name)

        return work

    left = {name: list(values) for name, values in seconds.items()}
    models = {name: Student(small_teacher()) for name in seconds}
    for name, model in models.items():
        model.register_forward_pre_hook(takes(name))
    rates = evaluate.images_per_second(models, digits, EvaluateConfig())
    assert rates == {name: pytest.approx(rate) for name, rate in expected.items()}
    assert order == list(seconds) * (len(order) // 2)
