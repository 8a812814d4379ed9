"""Locks on folders that one process uses at a time."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from realuid.errors import ConfigError
from realuid.files import LOCK


class WaitingWarning(UserWarning):
    """Another process uses a folder, and this one waits for it."""


@contextmanager
def held(folder: Path, wait: bool = False) -> Iterator[None]:
    """Lock a folder within a `with` block; the lock is released with the process, however it ends.

    Args:
        folder: created if it is not there.
        wait: for another process that holds it, instead of raising an error.

    Raises:
        ConfigError: where another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if not wait:
            raise ConfigError(f"another process works in '{folder}'. Wait for its end, or pass another out.") from None
        warnings.warn(f"another process works in '{folder}': waiting for its end.", WaitingWarning, stacklevel=3)
        lock.acquire()
    except NotImplementedError:  # a file system without locks
        yield
        return
    try:
        yield
    finally:
        lock.release()
