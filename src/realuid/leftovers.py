"""Temporary files and folders: their names, and removal of those whose process has ended."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path

#: Names of temporary files and folders: target, process, host and process again (process ids are used more than once).
TEMPORARY = re.compile(r"\.(?P<target>.+)\.(?P<pid>\d+)-(?P<token>[0-9a-f]{16})\.realuid\.(?P<kind>tmp|old)")
_HOST = hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]
_TOKEN = _HOST + secrets.token_hex(4)
#: Temporaries of another host are taken for left behind after that many seconds.
_STALE = 24 * 3600.0


def temporary_name(target: Path, kind: str) -> Path:
    """Beside its target; kind is 'tmp' (to take its name) or 'old' (replaced by it)."""
    return target.with_name(f".{target.name}.{os.getpid()}-{_TOKEN}.realuid.{kind}")


def remove_leftovers(target: Path) -> None:
    """Remove what processes that are gone left beside `target` while they wrote it.

    A folder that was moved aside and never replaced gets its name back.
    """
    if target.parent.is_dir():
        _finish(path for path in target.parent.iterdir() if path.name.startswith(f".{target.name}."))


def repair(folder: Path, older: re.Pattern[str] | None = None) -> None:
    """Finish what killed processes left in a folder, at any depth; see `remove_leftovers`.

    Args:
        folder: in which no other process writes what is repaired.
        older: of temporaries as earlier versions called them, '.NAME.PID.tmp' and '.NAME.PID.old': paths below the
            folder that are theirs, with groups 'target' and 'kind'. Other files of such names are somebody else's.
    """
    hidden = [path for kind in ("old", "tmp") for path in folder.rglob(f".*.{kind}")]
    _finish(hidden)
    for path in hidden:
        if older and (name := older.fullmatch(path.relative_to(folder).as_posix())) and path.exists():
            _settle(path, path.with_name(name["target"]), name["kind"])


def _finish(paths: Iterator[Path] | list[Path]) -> None:
    found = [(path, name) for path in paths if (name := TEMPORARY.fullmatch(path.name))]
    for path, name in sorted(found, key=lambda pair: pair[1]["kind"]):  # 'old' before 'tmp'
        target = path.with_name(name["target"])
        if (name["kind"] == "old" and not target.exists()) or not _alive(path, int(name["pid"]), name["token"]):
            _settle(path, target, name["kind"])


def _settle(path: Path, target: Path, kind: str) -> None:
    if kind == "old" and not target.exists():
        path.rename(target)
    elif path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _alive(path: Path, pid: int, token: str) -> bool:
    """Whether the process that made a temporary may still write it."""
    if token == _TOKEN:
        return pid == os.getpid()
    if not token.startswith(_HOST):
        return time.time() - path.stat().st_mtime < _STALE
    if pid == os.getpid():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # of another user
        return True
    return True
