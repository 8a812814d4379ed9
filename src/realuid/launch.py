"""The environment of a launcher (torchrun, accelerate launch, ...), and the connection of its processes.

torch alone would wait silently for minutes if one cannot be reached, and ignore Ctrl-C meanwhile.
"""

from __future__ import annotations

import math
import os
import select
import signal
import socket
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from realuid.errors import ConfigError

#: Seconds: until a wait is said; for a host that does not answer; for processes that have not come yet, in all; after
#: Ctrl-C for Python to end by itself, and where it writes a checkpoint first.
SAID, SILENT, LATE, GRACE, SAVING = 5.0, 10.0, 45.0, 5.0, 120.0
#: How signals are told to `heed_interrupts`: one byte each.
_INTERRUPT = bytes([signal.SIGINT])


class PartnerWarning(UserWarning):
    """A process waits for others that it was started with."""


@dataclass(frozen=True)
class Launch:
    """This process among those that were started together, and where number 0 is met."""

    world: int = 1
    rank: int = 0
    host: str = ""
    port: int = 0


def launched() -> Launch:
    """What the environment says: WORLD_SIZE, RANK, MASTER_ADDR and MASTER_PORT.

    Raises:
        ConfigError: for variables that are missing, or no whole numbers of their range.
    """
    world = _number("WORLD_SIZE", 1, 10**6, "1")
    if world == 1:
        return Launch()
    rank = _number("RANK", 0, world - 1)
    _number("LOCAL_RANK", 0, world - 1, "0")
    if not os.environ.get("MASTER_ADDR"):
        raise ConfigError(f"WORLD_SIZE = {world}, but MASTER_ADDR is not set. {_ADVICE}")
    return Launch(world, rank, os.environ["MASTER_ADDR"], _number("MASTER_PORT", 1, 65535))


_ADVICE = "Start processes with torchrun, which sets these variables, or unset WORLD_SIZE for a single one."


def _number(name: str, least: int, most: int, default: str = "") -> int:
    text = os.environ.get(name) or default
    if not text:
        raise ConfigError(f"{name} is not set, but WORLD_SIZE is {os.environ['WORLD_SIZE']}. {_ADVICE}")
    number = int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else -1
    if not least <= number <= most:
        raise ConfigError(f"{name} = {text}: allowed are whole numbers from {least} to {most}. {_ADVICE}")
    return number


def gather(launch: Launch) -> object:
    """Wait until all processes have come, at most for a while; a longer wait is said.

    Returns:
        the store in which all have signed in: torch's own for this address then has the same server, as long as this
        one is kept. None where torchrun's agents, which end all processes when one of them does, have a store already.

    Raises:
        ConfigError: where they have not come in that time.
    """
    until = time.monotonic() + LATE
    if launch.rank > 0:
        reach(launch)
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        return None
    with said_to_wait(launch):
        return _signed_in(launch, until)


@contextmanager
def said_to_wait(launch: Launch) -> Iterator[None]:
    """Say so where a `with` block, which waits for others, takes long."""
    text = f"process {launch.rank} of {launch.world}: waiting for the others at {launch.host}:{launch.port}."
    timer = threading.Timer(SAID, lambda: warnings.warn(text, PartnerWarning, stacklevel=1))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _signed_in(launch: Launch, until: float) -> object:
    """The store in which all processes have signed in before a moment of the monotonic clock."""
    from torch import distributed  # slow to import

    def meet() -> object:
        left = timedelta(seconds=max(1.0, until - time.monotonic()))
        return distributed.TCPStore(*where, first, left, multi_tenant=True)

    where, first, greeted = (launch.host, launch.port, launch.world), launch.rank == 0, timedelta(seconds=SILENT)
    try:
        if first:
            return meet()
        # longer than torch tries again where it is answered wrongly
        _in_time(lambda: distributed.TCPStore(*where, False, greeted, wait_for_workers=False), 1.5 * SILENT)
        return _in_time(meet, max(1.0, until - time.monotonic()) + GRACE)
    except (distributed.DistError, TimeoutError) as error:
        reason = " ".join(str(error).partition("Exception raised")[0].split())[:200]
        raise ConfigError(
            f"process {launch.rank} of {launch.world}: the others have not come to {launch.host}:{launch.port} "
            f"({reason}). Check that all of them run, and MASTER_ADDR and MASTER_PORT."
        ) from error


def _in_time(open_store: Callable[[], object], seconds: float) -> object:
    """A store; torch itself would wait without end for one that is frozen, or something else in its place.

    Raises:
        TimeoutError: where nothing answers.
    """
    opened: list[object] = []
    failed: list[BaseException] = []

    def attempt() -> None:
        try:
            opened.append(open_store())
        except BaseException as error:  # raised below, in the thread that asked
            failed.append(error)

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(seconds)
    if failed:
        raise failed[0]
    if not opened:
        raise TimeoutError("it is frozen, or something else listens there")
    return opened[0]


def reach(launch: Launch) -> None:
    """Wait until process 0 listens: for a while where its host answers, a few seconds where it does not.

    Raises:
        ConfigError: where it does not in that time.
    """
    start, said = time.monotonic(), False
    while True:
        try:
            with socket.create_connection((launch.host, launch.port), timeout=SAID / 2):
                return
        except OSError as error:
            reason, patience = str(error), LATE if isinstance(error, ConnectionRefusedError) else SILENT
        where, waited = f"process 0 at {launch.host}:{launch.port} ({reason})", time.monotonic() - start
        if waited > patience:
            raise ConfigError(
                f"process {launch.rank} of {launch.world} cannot reach {where}. Check MASTER_ADDR and MASTER_PORT, the "
                "network between the machines, and that process 0 runs."
            )
        if waited > SAID and not said:
            text = f"process {launch.rank} of {launch.world}: waiting for {where}."
            warnings.warn(text, PartnerWarning, stacklevel=2)
            said = True
        time.sleep(0.2)


_heeded = False
_grace: float | None = None


@contextmanager
def patient() -> Iterator[None]:
    """Within a `with` block, Ctrl-C leaves Python the time to write a checkpoint; the second time as little as else."""
    global _grace
    _grace = SAVING
    try:
        yield
    finally:
        _grace = None


def are_heeded() -> bool:
    """Whether this process is a command, which ends where it would wait for others without end."""
    return _heeded


def _interrupted(read: int, seconds: float | None = None) -> bool:
    """Whether a pipe tells of Ctrl-C within so many seconds; None: wait for it."""
    end = math.inf if seconds is None else time.monotonic() + seconds
    while end == math.inf or time.monotonic() < end:
        told, _, _ = select.select([read], [], [], None if end == math.inf else max(0.0, end - time.monotonic()))
        if told and os.read(read, 1) == _INTERRUPT:
            return True
    return False


def launcher() -> str:
    """What starts this command on as many processes again: 'realuid', or torchrun with its numbers."""
    started = os.environ.get("LOCAL_WORLD_SIZE", "1"), os.environ.get("GROUP_WORLD_SIZE", "1")
    if "TORCHELASTIC_RUN_ID" not in os.environ or started == ("1", "1"):
        return "realuid"
    nodes = "" if started[1] == "1" else f"--nnodes {started[1]} ... "
    return f"torchrun {nodes}--nproc-per-node {started[0]} -m realuid.cli.main"


def heed_interrupts() -> None:
    """Let Ctrl-C end this process also while it waits in torch for others, where Python's handlers have no turn.

    Of the command line only, not of the library: it takes the process's wakeup descriptor, and silences what torch logs
    of its sockets, with C++ frames, which is said in a line.
    """
    global _heeded
    _heeded = True
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "FATAL")
    read, write = os.pipe()
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)

    def watch() -> None:
        _interrupted(read)
        if _interrupted(read, GRACE if _grace is None else _grace):
            time.sleep(GRACE)
        print("realuid: interrupted while waiting for other processes", file=sys.stderr, flush=True)
        os._exit(130)

    threading.Thread(target=watch, daemon=True).start()
