"""Ctrl-C or SIGTERM during training: the update is finished and a checkpoint written before the run ends."""

from __future__ import annotations

import math
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import torch
import torch.distributed as dist

from realuid.launch import patient
from realuid.processes import is_first

#: Signals that are noted, and what they do otherwise. SIGTERM is sent by `kill`, Slurm, Kubernetes and torchrun.
USUAL = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}

#: Seconds within which several SIGTERM are one: Slurm and torchrun both send it to each process.
TOGETHER = 2.0


class Interrupt:
    """Whether the user has asked to stop.

    Args:
        processes: of the run, which stop at the same update.
    """

    asked = False
    since = -math.inf

    def __init__(self, processes: int = 1):
        self.processes = processes
        # flags are exchanged on the host, so that no update waits for the one before it to end on the devices
        separate = processes > 1 and dist.get_backend() != "gloo"
        self._group = dist.new_group(backend="gloo") if separate else None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """The handler of the signals: a second Ctrl-C, or a later SIGTERM, ends the run at once."""
        now = time.monotonic()
        if self.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        if self.asked:
            if now - self.since > TOGETHER:
                signal.signal(number, signal.SIG_DFL)
                signal.raise_signal(number)
            return
        self.asked, self.since = True, now
        if is_first():
            again = "Ctrl-C" if number == signal.SIGINT else "SIGTERM"
            print(
                f"\nrealuid: finishing this update, then writing a checkpoint; {again} again stops at once",
                file=sys.stderr,
            )

    def agreed(self) -> bool:
        """Whether any process was asked to stop: the same answer on all, each of which has to call this."""
        if self.processes > 1:
            flag = torch.tensor([int(self.asked)])
            dist.all_reduce(flag, dist.ReduceOp.MAX, group=self._group)
            self.asked = bool(flag)
        return self.asked


@contextmanager
def noted_interrupts(processes: int) -> Iterator[Interrupt]:
    """Within a `with` block, note the first Ctrl-C instead of raising KeyboardInterrupt, and SIGTERM.

    Outside of the main thread nothing is changed.

    Args:
        processes: of the run; torchrun passes both on to each of its own.
    """
    interrupt = Interrupt(processes)
    # a process in the background of a shell ignores Ctrl-C, and goes on doing so
    main = threading.current_thread() is threading.main_thread()
    ours = {number: usual for number, usual in USUAL.items() if main and signal.getsignal(number) == usual}
    for number in ours:
        signal.signal(number, interrupt)
    try:
        with patient():
            yield interrupt
    finally:
        for number, usual in ours.items():
            signal.signal(number, usual)
