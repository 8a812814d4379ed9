"""The race to the published recipe's best FD in miniature, and its arithmetic on curves made up by hand."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from conftest import small_teacher

from realuid.models import save_pretrained

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks import time_to_fd as race


@pytest.fixture
def command(arguments, tmp_path: Path, monkeypatch) -> list[str]:
    """With a teacher of random weights."""
    monkeypatch.setattr(torch, "set_num_threads", lambda number: None)
    save_pretrained(small_teacher(num_classes=10), tmp_path / "teacher")
    return [*arguments, "--teacher", str(tmp_path / "teacher")]


def test_the_bar_is_updates_times_their_costs(command, monkeypatch) -> None:
    """Published: best after 6 of 0.5 s; ours gets there after 4 of 0.25 s, the other student never."""
    curves = {
        "published": [race.Point(2, 9.0, 0.4), race.Point(6, 9.0, 0.2), race.Point(8, 9.0, 0.3)],
        "ours one": [race.Point(2, 9.0, 0.3), race.Point(4, 9.0, 0.2), race.Point(6, 9.0, 0.1)],
        "ours two": [race.Point(6, 9.0, 0.21)],
    }
    monkeypatch.setattr(race.Bench, "curve", lambda self, name, *_: next(v for k, v in curves.items() if k in name))
    monkeypatch.setattr(race.Bench, "costs", lambda self, sides: {"published": 0.5, "one": 0.25, "two": 0.25})
    recipe = Path(command[1])
    recipe.write_text(recipe.read_text() + "students: {one: {alpha: 1.0}, two: {alpha: 1.0}}\n")
    one, two = race.main(["bar", *command])
    assert one["published"]["seconds"] == 3.0 and one["ours"]["seconds"] == 1.0
    assert one["ratio"] == pytest.approx(1 / 3) and one["ours best"]["fd"] == 0.1
    assert two["ours"] is two["ratio"] is None


@pytest.mark.slow
def test_both_questions_in_miniature(command, tmp_path: Path) -> None:
    """Whole curves, the published ones longer for smaller batches; settings of the study times their factors."""
    sizes = ["--updates", "2", "--batches", "4", "8", "--rates", "1e-3", "--own-updates", "4", "--every", "2"]
    race.main(["bar", *command, *sizes])
    race.main(["study", *command, "--settings", "K 3", "both rates half", "--every", "2", "--target", "1e9"])
    files = {file.stem: json.loads(file.read_text()) for file in (tmp_path / "out").glob("*seed 0.json")}
    updates = {name: file["points"][-1][0] for name, file in files.items()}
    for pair in ("0.92,0.94", "0.96,0.98"):
        assert updates[f"published ({pair}), 0.001, 4 of 4, seed 0"] == 4
        assert updates[f"published ({pair}), 0.001, 2 of 8, seed 0"] == 2
    settings = {name: file["settings"] for name, file in files.items()}
    assert all(s["t_init"] == s["real_share"] == 1 for name, s in settings.items() if name.startswith("published"))
    k3 = settings["study K 3, seed 0"]  # 3 * 3 + 8 passes an image instead of 3 + 8: 2 updates become 1.3
    assert (k3["fake_updates"], k3["updates"]) == (3, 1)
    assert settings["study both rates half, seed 0"]["fake_lr"] == 1.5e-5
    rows = json.loads((tmp_path / "out" / "study.json").read_text())
    assert [row["reached"] for row in rows] == ["1 of 1", "1 of 1"]
    with pytest.raises(SystemExit, match="made with other settings"):
        race.main(["bar", *command, *sizes[:-1], "1"])


def test_tasks_take_turns_and_the_first_round_does_not_count() -> None:
    class Task:
        """Costs what its number of updates says."""

        def __init__(self, name: str):
            self.name, self.ema, self.teacher = name, self, self
            self.device = torch.device("cpu")

        def update(self, number: int | None = None) -> None:
            if number is not None:
                order.append((self.name, number))

    order: list[tuple[str, int]] = []
    ticks = iter([*[0, 100] * 4, 0, 1, 0, 3, 0, 10, 0, 30, 0, 5, 0, 7, 0, 50, 0, 70])
    original, race.clock = race.clock, lambda device: next(ticks)
    try:
        medians = race.medians_in_turns({"a": Task("a"), "b": Task("b")}, rounds=2, updates=2)
    finally:
        race.clock = original
    assert order == [(name, 2 * round_ + i) for round_ in range(3) for name in "ab" for i in range(2)]
    assert medians == {"a": 4, "b": 40}
