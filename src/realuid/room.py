"""Whether a disk has room: what errors of several libraries say of that."""

from __future__ import annotations

import errno
import tempfile
from pathlib import Path

from realuid.errors import StorageError

#: Numbers of errors where no more can be written: the disk is full, the quota used up, the file too large.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
#: Bytes that are left on a disk that is full: the next buffer of a C++ stream does not fit.
_NO_ROOM = 1 << 16


def is_full(error: BaseException, folder: Path) -> bool:
    """Whether an error says that a disk is full, a quota used up or a file too large: in torch's words, or others'.

    Args:
        error: while something was written.
        folder: where; what C++ libraries say of a stream has many reasons, and is believed where there is no room.
    """
    if isinstance(error, StorageError):
        return True
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in _FULL
    if any(word in str(error) for word in ("iostream error", "inline_container", "PytorchStreamWriter")):
        return not _has_room(folder)
    words = ["No space left"]
    words += [f"os error {n})" for n in _FULL] + [f"Os {{ code: {n}," for n in _FULL]  # safetensors from 0.6 on, before
    return any(word in str(error) for word in words)


def _has_room(folder: Path) -> bool:
    """Whether a small file can be written there: what is free says nothing of quotas."""
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(bytes(_NO_ROOM))
    except OSError as error:
        return error.errno not in _FULL
    return True


def no_space(target: Path) -> StorageError:
    """What to raise where `is_full`."""
    return StorageError(f"cannot write '{target}': no space left on the device. Free some, or write to another one.")
