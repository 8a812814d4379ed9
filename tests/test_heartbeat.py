"""Processes that are frozen are noticed; slow ones, and those that were stopped themselves, go on."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from realuid import heartbeat
from realuid.heartbeat import Heart
from realuid.launch import Launch


class Store:
    """Counters of processes in one process; `frozen`: it does not answer any more."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.frozen = threading.Event()
        self.lock = threading.Lock()

    def add(self, key: str, amount: int) -> int:
        while self.frozen.is_set():
            time.sleep(0.01)
        with self.lock:
            self.counts[key] = self.counts.get(key, 0) + amount
            return self.counts[key]


@pytest.fixture(autouse=True)
def faster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "BEAT", 0.05)
    monkeypatch.setattr(heartbeat, "FROZEN", 2.0)


@pytest.fixture
def three() -> Iterator[tuple[list[Heart], Store, list[tuple[int, int]]]]:
    """Three processes with one store, and what they are told: (who, who is frozen)."""
    store, told = Store(), []
    hearts = [Heart(Launch(3, rank), lambda: store, lambda r, rank=rank: told.append((rank, r))) for rank in range(3)]
    for heart in hearts:
        heart.start()
    yield hearts, store, told
    for heart in hearts:
        heart.stop()
    store.frozen.clear()


def until(condition, seconds: float = 120) -> bool:
    start = time.monotonic()
    while not condition() and time.monotonic() - start < seconds:
        time.sleep(0.01)
    return condition()


def test_processes_that_count_are_left_alone(three) -> None:
    _, store, told = three
    assert until(lambda: all(store.counts.get(f"realuid/beats/{rank}", 0) > 30 for rank in range(3)))
    assert told == []


@pytest.mark.slow
def test_one_that_no_longer_counts_is_told_to_process_0_and_process_0_to_all(three) -> None:
    hearts, _, told = three
    hearts[2].stop()
    assert until(lambda: told == [(0, 2)])
    hearts[0].stop()
    assert until(lambda: (1, 0) in told)
    assert sorted(told) == [(0, 2), (1, 0)]  # number 2 has stopped watching


def test_a_store_that_does_not_answer_is_that_of_a_frozen_process_0(three) -> None:
    hearts, store, told = three
    hearts[0].stop()
    store.frozen.set()
    assert until(lambda: sorted(told) == [(1, 0), (2, 0)])


@pytest.mark.slow
def test_a_process_that_was_stopped_itself_asks_anew(monkeypatch) -> None:
    """What it saw last is old when it goes on, though the others have counted all the time."""
    store, told, now = Store(), [], [0.0]
    monkeypatch.setattr("realuid.heartbeat.time", type("Clock", (), {"monotonic": lambda: now[0]}))
    heart = Heart(Launch(2, 1), lambda: store, told.append)
    heart._seen = {0: 0.0}
    watch = threading.Thread(target=heart._watch, daemon=True)
    watch.start()
    time.sleep(0.1)
    now[0] = 1000.0  # a jump of many beats
    assert until(lambda: heart._seen[0] == 1000.0)
    assert told == []

    def passes() -> bool:
        now[0] += 0.02
        time.sleep(0.02)
        return told == [0]

    assert until(passes)  # time goes on as it does, and nobody counts
    watch.join(5)


def test_a_store_that_cannot_be_reached_is_no_reason_to_end() -> None:
    told: list[int] = []

    def gone() -> Store:
        raise RuntimeError("no route to host")

    Heart(Launch(2, 1), gone, told.append).start()
    time.sleep(1)
    assert told == []
