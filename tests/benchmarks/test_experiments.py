"""Every experiment runs from end to end, in miniature, and reads back what it has made."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

spec = importlib.util.spec_from_file_location(
    "experiments", Path(__file__).parents[2] / "benchmarks" / "experiments.py"
)
experiments = importlib.util.module_from_spec(spec)
spec.loader.exec_module(experiments)


@pytest.mark.slow
@pytest.mark.parametrize("name", experiments.EXPERIMENTS)
def test_an_experiment_in_miniature(name: str, arguments, monkeypatch) -> None:
    monkeypatch.setattr(experiments, "RATIOS", (0.98,))
    rows = experiments.main([name, *arguments])
    expected = {"correction": 4 * (1 + 3), "convergence": 4, "classes": 2 * 11, "finetune": 3}
    assert len(rows) == expected[name] and all(r["mean"] >= 0 for r in rows)
    if name == "correction":
        teachers = {r["name"]: r for r in rows if r["name"].startswith("teacher")}
        assert all(len(r["speed"]) == 6 for r in teachers.values())
    monkeypatch.setattr(experiments, "student_spec", None)  # nothing is made twice
    monkeypatch.setattr(experiments, "teacher_spec", None)
    assert [r["mean"] for r in experiments.main([name, *arguments])] == [r["mean"] for r in rows]


def test_a_faster_teacher_is_faster() -> None:
    from conftest import small_teacher

    teacher = small_teacher()
    x, t = torch.randn(3, 1, 8, 8), torch.tensor([0.2, 0.5, 0.9])
    torch.testing.assert_close(experiments.faster(teacher, 1.05)(x, t), 1.05 * teacher(x, t))


@pytest.mark.slow
def test_a_measurement_that_was_cut_off_is_made_of_the_student_that_is_there(arguments, monkeypatch, tmp_path) -> None:
    first = experiments.main(["classes", *arguments])
    for path in (tmp_path / "out").glob("*/result.json"):
        path.unlink()
    monkeypatch.setattr(experiments, "student_spec", None)
    assert [r["mean"] for r in experiments.main(["classes", *arguments])] == [r["mean"] for r in first]


def test_budgets_are_means_over_seeds_at_shares_of_the_run() -> None:
    def run(*fds: float) -> dict:
        return {"history": [{"update": 10 * (i + 1), "fd": fd} for i, fd in enumerate(fds)]}

    found = experiments.budgets([run(8, 6, 4, 2), run(10, 8, 6, 4)])
    assert found == {"after 1/4": 9, "after 1/2": 7, "after 1/1": 3}
