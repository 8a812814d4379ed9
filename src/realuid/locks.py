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
    with claimed(folder / LOCK) as mine:
        if mine:
            yield
            return
    if not wait:
        raise ConfigError(f"another process works in '{folder}'. Wait for its end, or pass another out.")
    warnings.warn(f"another process works in '{folder}': waiting for its end.", WaitingWarning, stacklevel=3)
    with FileLock(folder / LOCK):
        yield


@contextmanager
def claimed(file: Path) -> Iterator[bool]:
    """Whether this process holds a lock within a `with` block, or another one does; it is released with the process.

    Args:
        file: by which the lock is known; created if it is not there.
    """
    lock = FileLock(file)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    except NotImplementedError:  # a file system without locks
        pass
    try:
        yield True
    finally:
        lock.release()
