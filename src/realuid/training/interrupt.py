"""Ctrl-C during training: the update is finished and a checkpoint written before the run ends."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import torch
import torch.distributed as dist

from realuid.launch import patient
from realuid.processes import is_first


class Interrupt:
    """Whether the user has asked to stop.

    Args:
        processes: of the run, which stop at the same update.
    """

    asked = False

    def __init__(self, processes: int = 1):
        self.processes = processes
        # flags are exchanged on the host, so that no update waits for the one before it to end on the devices
        separate = processes > 1 and dist.get_backend() != "gloo"
        self._group = dist.new_group(backend="gloo") if separate else None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """The handler of the signal: the second time it interrupts at once."""
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        if is_first():
            print(
                "\nrealuid: finishing this update, then writing a checkpoint; Ctrl-C again stops at once",
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
    """Within a `with` block, note the first Ctrl-C instead of raising KeyboardInterrupt.

    Outside of the main thread nothing is changed.

    Args:
        processes: of the run; torchrun passes Ctrl-C on to each of its own.
    """
    interrupt = Interrupt(processes)
    # a process in the background of a shell ignores the signal, and goes on doing so
    ours = threading.current_thread() is threading.main_thread()
    ours = ours and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if ours:
        signal.signal(signal.SIGINT, interrupt)
    try:
        with patient():
            yield interrupt
    finally:
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
