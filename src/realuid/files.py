"""Files that are either whole or absent: temporary name, fsync, rename; and checksums that tell a damaged one."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHECKSUMS = "checksums.json"
_TEMPORARY = re.compile(r"\.(?P<target>.+)\.\d+\.(?P<kind>tmp|old)")


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def atomic_file(target: Path) -> Iterator[Path]:
    """Yield a temporary path next to `target`; on success it replaces `target`, on failure nothing remains."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        _fsync(temporary)
        temporary.replace(target)
        _fsync(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Yield an empty temporary folder; on success it takes the name `target`, replacing a folder of that name.

    A folder that is killed half-way keeps its temporary name, which no reader looks at.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    replaced = target.with_name(f".{target.name}.{os.getpid()}.old")
    shutil.rmtree(replaced, ignore_errors=True)
    try:
        yield temporary
        for path in temporary.rglob("*"):
            _fsync(path)
        _fsync(temporary)
        if target.exists():
            target.rename(replaced)
        temporary.rename(target)
        _fsync(target.parent)
    finally:
        if replaced.exists() and not target.exists():  # stopped between the two renames
            replaced.rename(target)
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(replaced, ignore_errors=True)


def repair(folder: Path) -> None:
    """Finish what a killed process left in a folder, at any depth.

    A folder that was moved aside and never replaced gets its name back; temporaries are removed. No other process may
    be writing there.
    """
    for path in [*folder.rglob(".*.old"), *folder.rglob(".*.tmp")]:
        name = _TEMPORARY.fullmatch(path.name)
        if name is None:
            continue
        target = path.with_name(name["target"])
        if name["kind"] == "old" and not target.exists():
            path.rename(target)
        elif path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def to_json(value: Any, indent: int | None = None) -> str:
    """JSON that every reader takes: what is infinite or no number becomes null."""
    return json.dumps(_finite(value), indent=indent, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_json(path: Path, value: Any) -> None:
    """Write `to_json` atomically, indented, keys in the order given."""
    with atomic_file(path) as temporary:
        temporary.write_text(to_json(value, indent=2) + "\n")


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_checksums(folder: Path) -> None:
    """Write the SHA-256 of every file of a folder into its `checksums.json`."""
    sums = {str(p.relative_to(folder)): sha256(p) for p in sorted(folder.rglob("*")) if p.is_file()}
    (folder / CHECKSUMS).write_text(json.dumps(sums, indent=2) + "\n")


def damage(folder: Path) -> str | None:
    """What is wrong with a folder written with checksums, or None if it is whole."""
    try:
        sums = dict(json.loads((folder / CHECKSUMS).read_text()))
    except (OSError, ValueError, TypeError):
        return f"{CHECKSUMS} is missing or unreadable"
    for name, expected in sums.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if sha256(path) != expected:
            return f"{name} does not match its checksum"
    return None
