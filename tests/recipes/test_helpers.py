"""Processes of a sweep that end early, or are stopped and never end."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time

import pytest

from realuid.recipes import helpers
from realuid.recipes.helpers import end_of


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
