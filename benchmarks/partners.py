"""One of two processes that work together is killed or stopped: the other has to end within a minute."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import time
from contextlib import suppress
from pathlib import Path

import psutil

from benchmarks.disturbed import PATIENCE, Process, Runs, struck
from benchmarks.kill_and_resume import NOTHING

# -- one process of two --------------------------------------------------------------------------------------------


def partner(runs: Runs, kills: int, chance: random.Random, blow: signal.Signals = signal.SIGKILL) -> None:
    """One of two processes is killed (or stopped) at a random moment, and both are resumed; compared with two alone."""
    runs.whole, begin = runs.work / f"{runs.command}-two", time.perf_counter()
    if codes := _both(runs, runs.whole, False):
        raise SystemExit(f"two undisturbed processes ended with {codes}: {runs.said(0)} {runs.said(1)}")
    length = time.perf_counter() - begin
    for i in range(kills):
        out = runs.work / f"{runs.command}-partner-{i}"
        while True:
            pair = _pair(runs, out, False)
            if struck(pair[i % 2], chance.uniform(0, length), blow):
                break
            pair[1 - i % 2].join()
            shutil.rmtree(out)
        runs.counts["kills"] += 1
        begin = time.perf_counter()
        pair[1 - i % 2].join(PATIENCE)
        runs.counts["longest wait, ms"] = max(runs.counts["longest wait, ms"], int(1e3 * (time.perf_counter() - begin)))
        if blow == signal.SIGSTOP:
            os.kill(pair[i % 2].pid or 0, signal.SIGCONT)
            pair[i % 2].join(PATIENCE)
        if alive := [rank for rank in (0, 1) if pair[rank].is_alive()]:
            runs.wrong[out.name] = [f"process {rank} did not end: {runs.said(rank)}" for rank in alive]
            for rank in alive:
                pair[rank].kill()
            continue
        codes = _both(runs, out, True)
        if codes and NOTHING in runs.said(0) + runs.said(1):
            runs.counts["started anew"] += 1
            codes = _both(runs, out, False)
        runs.check(out, f"exit codes {codes}: {runs.said(0)} {runs.said(1)}" if codes else "")


def _pair(runs: Runs, out: Path, resume: bool) -> list[Process]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return [runs.start(out, resume, rank, port) for rank in (0, 1)]


def _both(runs: Runs, out: Path, resume: bool) -> list[int]:
    codes = [runs.finish(process) for process in _pair(runs, out, resume)]
    return codes if any(codes) else []


#: Of a sweep: long enough for a second process to take a trial.
_LONGER = ("--processes", "2", "--distill.updates", "400", "--distill.save-every", "50")


def helper(runs: Runs, kills: int, chance: random.Random, blow: signal.Signals = signal.SIGKILL) -> None:
    """One of two processes of a sweep is killed (or stopped), by turns the command and the one that it has started.

    The one that is left goes on with its own trials, so what is measured is how long it writes nothing into the folder
    of the sweep: a minute at most. A stopped one is continued then, with the same limit; a killed command is resumed.
    """
    runs.whole, runs.more, begin = runs.work / "sweep-two", _LONGER, time.perf_counter()
    if code := runs.finish(runs.start(runs.whole)):
        raise SystemExit(f"an undisturbed sweep of two processes ended with exit code {code}: {runs.said()}")
    length = time.perf_counter() - begin
    for i in range(kills):
        out = runs.work / f"sweep-helper-{i}"
        while True:
            command = runs.start(out)
            other = _started(command)
            command.join(chance.uniform(0, length))
            if other is not None and other.is_running() and command.is_alive():
                break
            runs.finish(command)
            shutil.rmtree(out)
        hit, left = (other, psutil.Process(command.pid)) if i % 2 else (psutil.Process(command.pid), other)
        hit.send_signal(blow)
        runs.counts["kills"] += 1
        waited = silence(left, out)
        if blow == signal.SIGSTOP and not ended(hit):
            hit.send_signal(signal.SIGCONT)
            waited = max(waited, silence(hit, out))
        runs.counts["longest wait, ms"] = max(runs.counts["longest wait, ms"], int(1e3 * waited))
        if alive := [process for process in (left, hit) if not ended(process)]:
            runs.wrong[out.name] = [f"nothing written for {waited:.0f} s: {runs.said()}"]
            for process in alive:
                process.kill()
            continue
        command.join()
        if command.exitcode == 0:
            runs.check(out)
        else:
            runs.resume(out)


def _started(command: Process) -> psutil.Process | None:
    """The additional process of a sweep, once it is there."""
    while command.is_alive():
        for child in psutil.Process(command.pid).children():
            with suppress(psutil.Error):
                if any("spawn_main" in word for word in child.cmdline()):
                    return child
        time.sleep(0.02)
    return None


def ended(process: psutil.Process) -> bool:
    """Whether a process has ended, also where nobody has asked for its exit code yet."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def silence(process: psutil.Process, folder: Path, most: float = PATIENCE) -> float:
    """The longest time in seconds, until a process ends, in which no file in a folder changed: `most`, and no longer.

    Starting, computing and waiting for others all count, so this is at least the time that anything was waited for.
    """
    longest, last, before = 0.0, time.perf_counter(), _files(folder)
    while longest < most:
        over = ended(process)
        now, found = time.perf_counter(), _files(folder)
        longest = max(longest, now - last)
        if over:
            break
        if found != before:
            last, before = now, found
        time.sleep(0.05)
    return longest


def _files(folder: Path) -> set[tuple[str, int, int]]:
    """Names of files with their sizes and times, in nanoseconds."""
    found = set()
    for place, _, names in os.walk(folder):  # which does not mind that folders go
        for path in (Path(place, name) for name in names):
            with suppress(FileNotFoundError):
                about = path.stat()
                found.add((str(path), about.st_size, about.st_mtime_ns))
    return found
