"""What the monitor says of runs whose trouble is known, and that it leaves sound ones alone."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path

import pytest
import torch

from realuid.files import to_json
from realuid.training import DistillConfig
from realuid.training.health import Facts, HealthWarning, Monitor, diagnose, read_findings

FACTS = Facts(updates=100, steps=8.0, classes=10, present=10)


def course(**changes: list[float]) -> list[dict]:
    """Evaluations at updates 10, 20, ..., of a sound run but for what is given."""
    sound = {
        "fd": [9.0, 5, 3, 2, 2, 1.5],
        "diversity": [0.5, 0.8, 0.9, 1, 1, 1],
        "spread_within": [0.4, 0.8, 1, 1, 1, 1],
    }
    sound |= {"fake_on_generated": [2.0, 1.2, 1.1, 1.1, 1.1, 1.1], "teacher_on_generated": [1.0] * 6}
    sound |= {"teacher": [0.4] * 6, "out_of_range": [0.9, 0.2, 0.2, 0.2, 0.2, 0.2]}
    values = sound | changes
    names = {name: name if name == "fd" else f"health/{name}" for name in values}
    return [{"update": 10 * i, **{names[name]: column[i - 1] for name, column in values.items()}} for i in range(1, 7)]


def test_a_sound_run_has_no_findings() -> None:
    for length in range(1, 7):
        assert diagnose(course()[:length], FACTS) == []
    assert diagnose([], FACTS) == []


def test_a_collapse_is_named_with_its_share_and_since_when() -> None:
    (found,) = diagnose(course(diversity=[1.0, 0.9, 0.55, 0.5, 0.45, 0.4]), FACTS)
    assert (
        found.cause == "learning rates"
        and "mode collapse: diversity at 0.4 of the data's since update 30" in found.text
    )
    (found,) = diagnose(course(spread_within=[0.5, 0.3, 0.3, 0.3, 0.3, 0.25]), FACTS)
    assert "diversity within a class at 0.25 of the data's since update 10" in found.text
    assert diagnose(course(diversity=[0.5, 0.5, 0.5, 0.5, 0.5, 0.7]), FACTS) == []  # it recovers
    assert diagnose(course(spread_within=[0.3, 0.3, 0.35, 0.4, 0.45, 0.5]), FACTS) == []  # it is on its way


@pytest.mark.parametrize(
    ("steps", "error", "cause"),
    [
        (8.0, 2.1, None),
        (8.0, 2.3, "learning rates"),
        (0.4, 1.3, "fake model"),
        (0.4, 1.1, None),
        (0.4, 3.0, "fake model"),
    ],
)
def test_a_fake_model_that_is_behind_is_slow_or_the_rates_are_high(steps, error, cause) -> None:
    lines = course(fake_on_generated=[9.0, 9.0, 9.0, error, error, error])
    found = diagnose(lines, dataclasses.replace(FACTS, steps=steps))
    assert [finding.cause for finding in found] == ([cause] if cause else [])
    assert all(f"error is {error:.2g} times the teacher's" in finding.text for finding in found)


def test_causes_that_are_known_from_the_start_come_first() -> None:
    facts = dataclasses.replace(FACTS, present=1, alpha_sid=1.2)
    found = diagnose(course(teacher=[0.9] * 6, diversity=[0.1] * 6), facts)
    assert [f.cause for f in found] == ["data", "teacher", "alpha_sid"]
    assert "Seen since: mode collapse: diversity at 0.1 of the data's since update 10." in found[1].text
    assert "holds 1 of the 10 classes" in found[0].text and "0.9 times that of a linear denoiser" in found[1].text
    found = diagnose(course(diversity=[0.1] * 6), dataclasses.replace(FACTS, present=1))
    assert [f.cause for f in found] == ["data", "learning rates"]  # a missing class explains no collapse


def test_what_grows_or_saturates_is_named() -> None:
    (found,) = diagnose(course(fd=[5.0, 1.0, 2.0, 2.5, 3.0, 4.0]), FACTS)
    assert "FD 4 is 4 times the 1 of update 20" in found.text
    (found,) = diagnose(course(out_of_range=[0.9, 0.9, 0.9, 0.9, 0.9, 0.65]), FACTS)
    assert "saturation: 65% of the samples' values are out of [-1, 1]" in found.text
    far = [1.0, 9, 8, 7, 6, 5]
    (found,) = diagnose(course(teacher_on_generated=far, teacher_on_real=[1.5] * 6), FACTS)
    assert "far from the data: the teacher's error on them is 3.3 times that on real images" in found.text
    assert diagnose(course(teacher_on_generated=far, teacher_on_real=[1.7] * 6), FACTS) == []
    norms = [1.0] * 10 + [50.0] * 5
    training = [{"update": i, "generator/grad_norm": n} for i, n in enumerate(norms)]
    (found,) = diagnose(training + course(), FACTS)
    assert "gradients of the generator have grown to 50, more than 10 times" in found.text
    assert (
        diagnose([{"update": i, "generator/grad_norm": n} for i, n in enumerate(norms[::-1])] + course(), FACTS) == []
    )


def test_nothing_is_judged_at_the_start() -> None:
    wrong = course(diversity=[0.1] * 6)
    assert diagnose(wrong[:3], FACTS) == [] and diagnose(wrong[:4], FACTS)
    assert diagnose(wrong, dataclasses.replace(FACTS, updates=1000)) == []


def test_facts_of_settings() -> None:
    config = DistillConfig(
        alpha=0.96, beta=0.98, alpha_sid=1.2, fake_updates=3, fake_lr=1e-4, generator_lr=2e-4, updates=9
    )
    facts = Facts.of(config, 10, torch.tensor([0, 3, 3, 9, 1, 5, 7, 8]))
    assert facts.steps == pytest.approx(1.5) and dataclasses.replace(facts, steps=0) == Facts(9, 0, 1.2, 10, 7)
    assert Facts.of(DistillConfig(alpha_sid=1.2), 0, None).alpha_sid == 0


def test_the_monitor_warns_once_a_cause_and_forgets_what_is_over(tmp_path: Path) -> None:
    metrics, file = tmp_path / "metrics.jsonl", tmp_path / "health.json"
    monitor = Monitor(metrics, file, FACTS)

    def look(lines: list[dict]) -> list[str]:
        metrics.write_text("".join(to_json(line) + "\n" for line in lines) + '{"upd')
        return [finding.cause for finding in monitor.look()]

    wrong = course(diversity=[0.1] * 6)
    with pytest.warns(HealthWarning, match="^Learning rates too high: mode collapse: .* Lower both"):
        assert look(wrong[:4]) == ["learning rates"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert look(wrong) == ["learning rates"]
        assert [f.cause for f in read_findings(file)] == ["learning rates"]
        assert look(course()) == [] == read_findings(file)


@pytest.mark.parametrize("text", ["", "{", "[3]", '[{"cause": 1}]', "[[]]"])
def test_a_damaged_file_of_findings_is_empty(text: str, tmp_path: Path) -> None:
    (tmp_path / "health.json").write_text(text)
    assert read_findings(tmp_path / "health.json") == [] == read_findings(tmp_path / "nowhere.json")
