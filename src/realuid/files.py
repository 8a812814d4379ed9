"""Atomic files and folders (temporary name, fsync, rename) and their checksums.

Nothing here replaces a folder that realuid did not write, and files that users added to its folders are kept.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from realuid.errors import ConfigError
from realuid.leftovers import TEMPORARY, remove_leftovers, temporary_name
from realuid.reading import read_limited
from realuid.room import is_full, no_space

CHECKSUMS = "checksums.json"
#: The file by which a process holds a folder, see `realuid.locks`; it means nothing when no process does.
LOCK = ".realuid.lock"


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _mode(folder: Path) -> int:
    """The mode of new files, by the umask: of a folder that was just made, without the bits to enter it."""
    return folder.stat().st_mode & 0o666


@contextmanager
def atomic_file(target: Path) -> Iterator[Path]:
    """Yield a temporary path next to `target`; on success it replaces `target`, on failure nothing remains.

    Raises:
        ConfigError: where `target` is a folder, or part of a folder that has checksums.
        StorageError: where the disk is full.
    """
    target = _resolved(target)
    _refuse_parts(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(target)
    temporary = temporary_name(target, "tmp")
    temporary.mkdir()
    mode = _mode(temporary)
    temporary.rmdir()
    try:
        yield temporary
        temporary.chmod(mode)  # safetensors writes 0600, whatever the umask
        _fsync(temporary)
        temporary.replace(target)
        _fsync(target.parent)
    except Exception as error:
        if is_full(error, target.parent):
            raise no_space(target) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(target: Path, ours: Callable[[Path], bool] | None = None) -> Iterator[Path]:
    """Yield an empty temporary folder; on success it takes the name `target`, replacing a folder of that name.

    A folder that is killed half-way keeps its temporary name, which no reader looks at. Files that somebody else put
    into the folder that is replaced are kept.

    Args:
        target: a folder; one that is there is replaced if it is empty or ours.
        ours: whether realuid wrote a folder; without it, one with checksums is taken for ours.

    Raises:
        ConfigError: for any other folder, or a file.
        StorageError: where the disk is full.
    """
    target = _resolved(target)
    _refuse_foreign(target, ours)
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(target)
    temporary, replaced = temporary_name(target, "tmp"), temporary_name(target, "old")
    temporary.mkdir()
    mode = _mode(temporary)
    try:
        yield temporary
        for path in temporary.rglob("*"):
            if path.is_file() and not path.is_symlink():
                path.chmod(mode)
            _fsync(path)
        _refuse_foreign(target, ours)  # it may have appeared since
        if target.exists():
            _keep_foreign(target, temporary)
        _fsync(temporary)
        if target.exists():
            target.rename(replaced)
        temporary.rename(target)
        _fsync(target.parent)
    except Exception as error:
        if is_full(error, target.parent):
            raise no_space(target) from error
        raise
    finally:
        if replaced.exists() and not target.exists():  # stopped between the two renames
            replaced.rename(target)
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(replaced, ignore_errors=True)


def check_writable(target: Path, *sources: str | Path) -> None:
    """Raise ConfigError where a file must not or cannot be written: before the work of which it is the result.

    Args:
        target: the file.
        sources: what is read for it, as the user named it (FILE?options and BASE+ADAPTER too): that is never replaced.
    """
    _refuse_parts(_resolved(target))
    refuse_sources(target, *sources)
    refuse_below_file(target)


def refuse_below_file(target: Path) -> None:
    """Raise ConfigError for a path below a file."""
    above = next((folder for folder in target.absolute().parents if folder.exists()), None)
    if above is not None and not above.is_dir():
        raise ConfigError(f"'{above}' is a file, so '{target}' cannot be written below it. Pass another name.")


def refuse_sources(target: Path, *sources: str | Path) -> None:
    """Raise ConfigError where a result would replace what it is made of; arguments as of `check_writable`."""
    for source in map(str, sources):
        if any(_same(target, Path(name)) for name in (source, *re.split(r"[?+]", source)) if name):
            raise ConfigError(
                f"'{target}' is what is read, and would be replaced by what is written. Pass another name."
            )


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except (OSError, ValueError):  # one of them is missing, or no path at all
        return False


def check_name(path: Path) -> None:
    """Raise ConfigError for a path that no file system has."""
    if "\0" in str(path):
        raise ConfigError(f"'{path}': a name of a file holds no NUL character.")


def _resolved(target: Path) -> Path:
    """What a link stands for: that is replaced, not the link."""
    check_name(target)
    return target.resolve() if target.is_symlink() else target


def _refuse_parts(target: Path) -> None:
    if target.is_dir():
        raise ConfigError(f"'{target}' is a folder, but a file is to be written. Pass another name.")
    for folder in list(target.parents)[:2]:
        if str(target.relative_to(folder)) in _listed(folder):
            raise ConfigError(f"'{target}' is part of what realuid wrote to '{folder}'. Pass another name.")


def _refuse_foreign(target: Path, ours: Callable[[Path], bool] | None) -> None:
    if not target.exists():
        return
    if not target.is_dir():
        raise ConfigError(f"'{target}' is a file, but a folder is to be written. Pass another name.")
    if not is_empty(target) and not (ours(target) if ours else (target / CHECKSUMS).is_file()):
        raise ConfigError(f"'{target}' is not empty, and realuid did not write it. Pass a new folder.")


def is_empty(folder: Path) -> bool:
    """Whether a folder is missing, or has nothing in it but what a killed process of realuid left."""
    return not folder.exists() or all(p.name == LOCK or TEMPORARY.fullmatch(p.name) for p in folder.iterdir())


def _listed(folder: Path) -> set[str]:
    """Names in the checksums of a folder; none where it has none."""
    try:
        return set(json.loads(read_limited(folder / CHECKSUMS)))
    except (OSError, ValueError, TypeError, RecursionError):
        return set()


def _keep_foreign(old: Path, new: Path) -> None:
    """Give the new folder what is in the old one and is not ours, by its checksums, nor replaced."""
    listed = _listed(old) | {CHECKSUMS}
    for parent, folders, files in os.walk(old):
        here = Path(parent)
        for name in [*files, *(name for name in folders if (here / name).is_symlink())]:
            inside = (here / name).relative_to(old)
            if str(inside) in listed or os.path.lexists(new / inside):
                continue
            (new / inside).parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(here / name, new / inside, follow_symlinks=False)
            except OSError:  # a file system without hard links
                shutil.copy2(here / name, new / inside, follow_symlinks=False)


def remove_written(folder: Path) -> None:
    """Remove from a folder what its checksums list, and the folder if nothing else is in it."""
    for name in sorted(_listed(folder)):
        if not outside(name):
            (folder / name).unlink(missing_ok=True)
    (folder / CHECKSUMS).unlink(missing_ok=True)
    inner = sorted((path for path in folder.rglob("*") if path.is_dir() and not path.is_symlink()), reverse=True)
    for path in [*inner, folder]:
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()


def to_json(value: Any, indent: int | None = None, ensure_ascii: bool = True) -> str:
    """JSON that every reader takes: what is infinite or no number becomes null."""
    return json.dumps(_finite(value), indent=indent, ensure_ascii=ensure_ascii, allow_nan=False)


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
        sums = json.loads(read_limited(folder / CHECKSUMS))
    except (OSError, ValueError, RecursionError):
        return f"{CHECKSUMS} is missing or unreadable"
    if not isinstance(sums, dict):
        return f"{CHECKSUMS} holds a {type(sums).__name__}, not names with their sums"
    for name, expected in sums.items():
        if outside(name):
            return f"{CHECKSUMS} names {name!r}, which is not in the folder"
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if sha256(path) != expected:
            return f"{name} does not match its checksum"
    return None


def outside(name: str) -> str | None:
    """Why a file of this name, in an archive for instance, may not be written below a folder; None if it may.

    The same on every system, so that what is written on one can be read on the others.
    """
    path = PurePosixPath(name)
    if not path.name or path.is_absolute() or ".." in path.parts:
        return "it leads out of the folder"
    if "\\" in name or ":" in name:
        return "it has a backslash or a colon"
    if any(ord(character) < 32 or ord(character) == 127 for character in name):
        return "it has a control character"
    if any(PureWindowsPath(part).is_reserved() or part[-1] in ". " for part in path.parts):
        return "Windows reserves it"
    return None
