"""benchmarks/faults.py in short: killed runs and a killed partner, resumed to the same bits."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from benchmarks import disturbed, faults, partners


@pytest.mark.slow
@pytest.mark.parametrize("words", [("kill", "--kills", "2"), ("partner", "--kills", "1")])
def test_runs_are_resumed_bit_for_bit(words: tuple[str, ...], capfd, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("tempfile.mkdtemp", lambda **_: str(tmp_path))
    assert faults.main([*words, "--commands", "train", "--seed", "3"]) == 0
    row = capfd.readouterr().out.splitlines()[1].split()
    assert row[:3] == [words[0], "train", words[2]] and row[4:6] == [words[2], "0"]


def test_differences_are_seen_and_speeds_are_not(tmp_path: Path) -> None:
    for name in ("a", "b"):
        trial = tmp_path / name / "trials" / "0"
        (trial / "tensorboard").mkdir(parents=True)
        (trial / "tensorboard" / f"events.out.tfevents.{name}").touch()
        (trial / "result.json").write_text(f'{{"fd": 1.5, "seconds": {len(name) if name == "a" else 7}}}')
        (trial / "metrics.jsonl").write_text(f'{{"update": 1, "images_per_second": {ord(name)}}}\n')
        (tmp_path / name / "sweep.html").write_text(name)
    assert disturbed.unlike(tmp_path / "a", tmp_path / "b") == []
    trial = tmp_path / "b" / "trials" / "0"
    (trial / "result.json").write_text('{"fd": 1.5000001, "seconds": 7}')
    (trial / "metrics.jsonl").write_text('{"update": 2}\n')
    shutil.copy(trial / "result.json", trial / "config.json")
    names = [f"trials/0/{name}" for name in ("config.json", "metrics.jsonl", "result.json")]
    assert disturbed.unlike(tmp_path / "a", tmp_path / "b") == names


@pytest.mark.parametrize(("pauses", "least", "most"), [([0.2, 0.8, 0.2], 0.7, 1.45), ([9.0], 1.5, 5.0)])
def test_what_counts_as_waiting_is_the_longest_time_without_writing(
    pauses: list[float], least: float, most: float, tmp_path: Path
) -> None:
    """Of a process that writes between pauses; after a second and a half one is given up."""
    code = (
        f"import time, pathlib\nfor i, s in enumerate({pauses}):\n"
        f" time.sleep(s); pathlib.Path({str(tmp_path)!r}, str(i)).touch()"
    )
    with subprocess.Popen([sys.executable, "-S", "-c", code]) as process:
        found = partners.silence(psutil.Process(process.pid), tmp_path, 1.5)
        assert least < found < most and partners.ended(psutil.Process(process.pid)) == (len(pauses) > 1)
        process.kill()
