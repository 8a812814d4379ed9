"""Reports of progress: lines in files, a bar of 80 columns in a terminal, nothing for short work."""

from __future__ import annotations

import io
import re
import sys

import pytest
from rich.cells import cell_len

from realuid import progress
from realuid.progress import Progress, track


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that goes on by a second with every look at it."""
    now = [0.0]

    def look() -> float:
        now[0] += 1
        return now[0]

    monkeypatch.setattr(progress.time, "monotonic", look)
    return now


def test_a_file_gets_a_line_now_and_then_and_one_at_the_end(clock, capsys) -> None:
    report = Progress("student", 100, start=40)
    for done in range(41, 101):
        report.update(done, f"gap {done}")
    report.close()
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "student: 50 of 100, gap 50, 0:00:55 left"  # 10 updates in 11 s, 50 are left
    assert 5 < len(lines) < 8 and lines[-1].startswith("student: 100 of 100, gap 100, 0:0")


def test_the_last_line_is_not_said_twice(clock, capsys) -> None:
    report = Progress("student", 30)
    clock[0] += 20
    report.update(30, "FD 4.89")
    report.close()
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_bar_fits_into_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    report = Progress("student (mixture, data_weight 0.5)", 1900)
    report.update(380, "gap 0.103, 3,000 img/s, FD 0.128")
    report.close()
    lines = [re.sub(r"\x1b\[[^a-zA-Z]*[a-zA-Z]", "", line) for line in re.split(r"[\r\n]", terminal.getvalue())]
    assert max(map(cell_len, lines)) <= 80
    assert any("gap 0.103, 3,000 img/s, FD 0.128" in line and "380/1900" in line for line in lines)


def test_short_work_is_not_worth_a_word(capsys) -> None:
    assert list(track([1, 2], "samples", 2)) == [1, 2]
    assert capsys.readouterr().err == ""


def test_long_work_is_reported(clock, capsys) -> None:
    assert list(track(range(30), "samples", 300, each=10)) == list(range(30))
    lines = capsys.readouterr().err.splitlines()
    assert 2 < len(lines) < 8 and lines[-1].startswith("samples: 300 of 300")
