"""Ctrl-C during training: the update is finished and a checkpoint written before the run ends."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupt:
    """Whether the user has asked to stop."""

    asked = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """The handler of the signal: the second time it interrupts at once."""
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        print(
            "\nrealuid: finishing this update, then writing a checkpoint; Ctrl-C again stops at once", file=sys.stderr
        )


@contextmanager
def noted_interrupts(alone: bool) -> Iterator[Interrupt]:
    """Within a `with` block, note the first Ctrl-C instead of raising KeyboardInterrupt.

    Args:
        alone: whether this process runs without others, which would have to stop at the same update. With others,
            and outside of the main thread, nothing is changed.
    """
    interrupt = Interrupt()
    ours = alone and threading.current_thread() is threading.main_thread()
    # a process in the background of a shell ignores the signal, and goes on doing so
    ours = ours and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if ours:
        signal.signal(signal.SIGINT, interrupt)
    try:
        yield interrupt
    finally:
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
