"""Additional processes on this machine, such as those of a sweep: none of them is waited for without end."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess

import psutil

from realuid.heartbeat import BEAT, FROZEN


def end_of(helpers: Sequence[BaseProcess], say: Callable[[str], None]) -> list[BaseProcess]:
    """Wait until processes have ended; one that stays stopped (SIGSTOP) is killed, since it would never end.

    Args:
        helpers: children of this process.
        say: is told of those.

    Returns:
        those that have not ended well.
    """
    running = dict.fromkeys(helpers, time.monotonic())  # when they were last seen to
    while alive := [helper for helper in helpers if helper.is_alive()]:
        for helper in alive:
            if not _is_stopped(helper.pid):
                running[helper] = time.monotonic()
            elif time.monotonic() - running[helper] > FROZEN:
                say(f"{helper.name} has been stopped for {FROZEN:.0f} s, and is ended.")
                helper.kill()
        alive[0].join(BEAT)
    return [helper for helper in helpers if helper.exitcode]


def _is_stopped(number: int | None) -> bool:
    try:
        return psutil.Process(number).status() == psutil.STATUS_STOPPED
    except psutil.NoSuchProcess:
        return False
