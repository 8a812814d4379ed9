"""Additional processes on this machine, such as those of a sweep: none of them is waited for without end."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import psutil
import torch

from realuid.devices import tune_process
from realuid.heartbeat import BEAT, FROZEN
from realuid.launch import GRACE

#: Work of another process: a function of a module.
Work = Callable[..., None]


@contextmanager
def beside(log: Path, say: Callable[[str], None], work: Work, *arguments: Any) -> Iterator[None]:
    """Within a `with` block another process works too, and each of both has half of the threads.

    The end of the block waits for its end. What it makes is on disk; if it fails, that is said, and the caller makes it
    itself. It ends with this process, however that ends.

    Args:
        log: receives what it prints.
        say: is told if it fails.
        work: called in the other process with the arguments, which are pickled.
    """
    threads = torch.get_num_threads()
    call = (log, max(1, threads // 2), os.getpid(), work, arguments)
    helper = multiprocessing.get_context("spawn").Process(target=_work, args=call, name="the process beside")
    helper.start()
    torch.set_num_threads(max(1, threads - threads // 2))
    try:
        yield
        if end_of([helper], say):
            say(f"the process beside ended early (see '{log}'): what it had begun is continued here")
    except KeyboardInterrupt:
        end_soon([helper])
        raise
    except BaseException:
        helper.terminate()
        raise
    finally:
        torch.set_num_threads(threads)


def _work(log: Path, threads: int, parent: int, work: Work, arguments: Sequence[Any]) -> None:
    """The other process of `beside`."""
    tune_process()
    torch.set_num_threads(threads)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    print_into(log)
    work(*arguments)


def print_into(log: Path) -> None:
    """Add what this process prints from now on to a file, which stays open for the error that may end it."""
    sys.stdout = sys.stderr = log.open("a", buffering=1)


def _end_with(parent: int) -> None:
    """End this process at once when its parent has ended."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


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


def end_soon(helpers: Sequence[BaseProcess]) -> None:
    """Let processes end after Ctrl-C, which reaches all; if it was sent to this one alone, so does SIGTERM now.

    In both cases a process that trains writes its checkpoint first.
    """
    until = time.monotonic() + GRACE
    for helper in helpers:
        helper.join(max(0.0, until - time.monotonic()))
        if helper.is_alive():
            helper.terminate()


def _is_stopped(number: int | None) -> bool:
    try:
        return psutil.Process(number).status() == psutil.STATUS_STOPPED
    except psutil.NoSuchProcess:
        return False
