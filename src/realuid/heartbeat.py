"""Noticing processes of a run that are frozen: stopped, or on a machine that no longer answers.

torch waits for such a process for half an hour, and gloo cannot be told to wait no longer. So every process counts in
the store in which all have signed in, and process 0 looks at the counts of all others, which look at that of process 0.
A thread counts: a process that computes, or reads data, however slowly, goes on counting. Those that have ended before
torch connects to them, of which it would not tell, do not count either.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Protocol

from realuid.launch import LATE, Launch

#: Seconds between two counts; and without one, after which a process is taken for frozen.
BEAT, FROZEN = 5.0, LATE


class Store(Protocol):
    """Counters that all processes share, such as `torch.distributed.TCPStore`."""

    def add(self, key: str, amount: int) -> int: ...


class Heart:
    """The count of this process, and a watch over those of others.

    Args:
        launch: this process among the others.
        store: opens the store; what it raises ends the watch. A store that breaks off has ended with process 0.
        frozen: is told the number of a process that is frozen, once, in a thread.
    """

    def __init__(self, launch: Launch, store: Callable[[], Store], frozen: Callable[[int], None]):
        self._rank, self._open, self._frozen = launch.rank, store, frozen
        self._watched = tuple(range(1, launch.world)) if launch.rank == 0 else (0,)
        self._seen: dict[int, float] = {}
        self._ended = threading.Event()

    def start(self) -> None:
        """Count and watch from now on."""
        self._seen = dict.fromkeys(self._watched, time.monotonic())
        for work in (self._beat, self._watch):
            threading.Thread(target=work, daemon=True).start()

    def stop(self) -> None:
        """Neither count nor watch any more."""
        self._ended.set()

    def _beat(self) -> None:
        counts: dict[int, int] = {}
        try:
            store = self._open()
        except Exception:  # of torch, of many types
            self.stop()
            return
        with suppress(Exception):
            while not self._ended.is_set():
                store.add(_key(self._rank), 1)
                for other in self._watched:  # waits without end where process 0, which has the store, is frozen
                    count = store.add(_key(other), 0)
                    if count != counts.get(other):
                        counts[other], self._seen[other] = count, time.monotonic()
                self._ended.wait(BEAT)

    def _watch(self) -> None:
        last = time.monotonic()
        while not self._ended.wait(BEAT):
            now = time.monotonic()
            if now - last > 3 * BEAT:  # this process was stopped itself: the others have as long as before
                self._seen = dict.fromkeys(self._watched, now)
            last = now
            late = [other for other, seen in list(self._seen.items()) if now - seen > FROZEN]
            if late and not self._ended.is_set():
                self.stop()
                self._frozen(late[0])


def _key(rank: int) -> str:
    return f"realuid/beats/{rank}"


_heart: Heart | None = None


def beat(launch: Launch) -> None:
    """Let this process end, with a line, where another one is frozen; for commands, once all processes have come."""
    global _heart

    def open_store() -> Store:
        from torch import distributed

        patience = timedelta(seconds=2 * FROZEN)  # the watch is quicker
        return distributed.TCPStore(launch.host, launch.port, launch.world, False, patience, wait_for_workers=False)

    def end(rank: int) -> None:
        print(
            f"realuid: error: process {rank} of {launch.world} has not answered for {FROZEN:.0f} s: it has ended or is "
            "stopped, or its machine does not answer. End it, and start all again; `--resume` continues from the last "
            "checkpoint",
            file=sys.stderr,
            flush=True,
        )
        os._exit(2)  # the main thread waits in compiled code

    if _heart is None:
        _heart = Heart(launch, open_store, end)
        _heart.start()


def rest() -> None:
    """Let `beat` have no effect any more."""
    global _heart
    if _heart is not None:
        _heart.stop()
        _heart = None
