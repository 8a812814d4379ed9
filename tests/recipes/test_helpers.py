"""Processes of a sweep that end early, or are stopped and never end."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import torch

from realuid.recipes import helpers
from realuid.recipes.helpers import beside, end_of, end_soon
from realuid.recipes.run import teacher_of_run, teacher_record


def child(what, *arguments) -> multiprocessing.Process:
    process = multiprocessing.get_context("fork").Process(target=what, args=arguments, name=what.__name__)
    process.start()
    return process


def test_those_that_end_are_waited_for_and_failed_ones_are_told() -> None:
    well, badly = child(time.sleep, 0.3), child(sys.exit, 3)
    assert end_of([well, badly], pytest.fail) == [badly]
    assert not well.is_alive() and end_of([], pytest.fail) == []


def test_one_that_stays_stopped_is_ended_and_one_that_goes_on_is_not(monkeypatch) -> None:
    monkeypatch.setattr(helpers, "BEAT", 0.05)
    monkeypatch.setattr(helpers, "FROZEN", 0.5)
    stays, goes_on = child(time.sleep, 600), child(time.sleep, 1)
    said: list[str] = []
    for process in (stays, goes_on):
        os.kill(process.pid, signal.SIGSTOP)
    os.kill(goes_on.pid, signal.SIGCONT)
    assert end_of([goes_on, stays], said.append) == [stays]
    assert stays.exitcode == -signal.SIGKILL and goes_on.exitcode == 0
    assert said == ["sleep has been stopped for 0 s, and is ended."]


def test_those_that_an_interrupt_did_not_reach_are_told_to_end(monkeypatch) -> None:
    monkeypatch.setattr(helpers, "GRACE", 0.3)
    reached, missed = child(time.sleep, 0.01), child(time.sleep, 600)
    end_soon([reached, missed])
    missed.join(30)
    assert (reached.exitcode, missed.exitcode) == (0, -signal.SIGTERM)


def note(file: Path, *numbers: int) -> None:
    print("noted")
    file.write_text(" ".join(map(str, (os.getpid(), torch.get_num_threads(), *numbers))))


def wait(file: Path) -> None:
    file.write_text(str(os.getpid()))
    time.sleep(600)


def fail() -> None:
    raise ValueError("not today")


@pytest.fixture
def four_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


@pytest.mark.slow  # starts processes
@pytest.mark.usefixtures("four_threads")
def test_a_process_beside_works_with_half_of_the_threads(tmp_path: Path) -> None:
    with beside(tmp_path / "log", pytest.fail, note, tmp_path / "noted", 5):
        assert torch.get_num_threads() == 2
    process, threads, number = map(int, (tmp_path / "noted").read_text().split())
    assert process != os.getpid() and (threads, number) == (2, 5) and torch.get_num_threads() == 4
    assert (tmp_path / "log").read_text() == "noted\n"


@pytest.mark.slow  # starts processes
@pytest.mark.usefixtures("four_threads")
def test_a_process_beside_that_fails_is_said_and_leaves_its_error(tmp_path: Path) -> None:
    said: list[str] = []
    with beside(tmp_path / "log", said.append, fail):
        pass
    assert len(said) == 1 and str(tmp_path / "log") in said[0]
    assert "ValueError: not today" in (tmp_path / "log").read_text()


@pytest.mark.slow  # starts processes
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.usefixtures("four_threads")
def test_an_error_ends_the_process_beside(error: type[BaseException], monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(helpers, "GRACE", 0.1)
    with pytest.raises(error), beside(tmp_path / "log", pytest.fail, wait, tmp_path / "noted"):
        while not (tmp_path / "noted").is_file() or not (tmp_path / "noted").read_text():
            time.sleep(0.1)
        raise error
    for child in multiprocessing.active_children():
        child.join(30)
    assert not psutil.pid_exists(int((tmp_path / "noted").read_text()))
    assert torch.get_num_threads() == 4


@pytest.mark.slow  # starts processes
def test_a_process_beside_ends_with_its_parent(tmp_path: Path) -> None:
    parent = multiprocessing.get_context("spawn").Process(target=hold, args=(tmp_path,))
    parent.start()
    while not (tmp_path / "noted").is_file() or not (tmp_path / "noted").read_text():
        time.sleep(0.1)
    orphan = psutil.Process(int((tmp_path / "noted").read_text()))
    parent.kill()
    assert not psutil.wait_procs([orphan], timeout=30)[1]


def hold(folder: Path) -> None:
    with beside(folder / "log", print, wait, folder / "noted"):
        pass


def test_the_name_of_a_teacher_ends_with_its_line(tmp_path) -> None:
    (tmp_path / "teacher.txt").write_text(teacher_record("my\u2028teacher", "ema"))
    assert teacher_of_run(tmp_path) == ("my\u2028teacher", "my\u2028teacher", "ema")
