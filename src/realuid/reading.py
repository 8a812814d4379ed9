"""Reading untrusted files: regular files only, of limited size, and JSON of limited depth.

A path may name a FIFO or a device, where a read blocks for ever; JSON may be nested deeper than Python's recursion
limit, or contain NaN and infinities. Readers of models, contracts and settings open their files here.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import stat
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import IO, Any

from realuid.errors import CheckpointError, RealUIDError

#: Far above any description of a model (about 10 kB; an index of thousands of weights, 1 MB).
MAX_JSON_BYTES = 16 << 20
#: Far above how deep settings are nested (about 6).
MAX_DEPTH = 64

_KINDS = (
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISDIR, "a folder"),
)


def check_regular(path: str | Path) -> Path:
    """The path of an existing, regular file (links are followed).

    Raises:
        CheckpointError: where there is none, or it is a folder, a FIFO, a socket or a device; it is not opened.
    """
    path = Path(path)
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise CheckpointError(f"no file '{path}' can be read ({_reason(error)}).") from error
    if not stat.S_ISREG(mode):
        kind = next((name for test, name in _KINDS if test(mode)), "no regular file")
        raise CheckpointError(f"'{path}' is {kind}, not a regular file. Pass a file on disk.")
    return path


def near(path: Path) -> str:
    """For messages, where there is no such path: what is called nearly so in its folder; '' for nothing."""
    there = sorted(each.name for each in path.parent.iterdir()) if path.parent.is_dir() else []
    found = get_close_matches(path.name, there, n=1)
    return f" Did you mean '{path.parent / found[0]}'?" if found else ""


def open_regular(path: str | Path) -> IO[bytes]:
    """A regular file, opened for reading in binary mode; errors as for `check_regular`."""
    path = check_regular(path)
    try:
        # Without O_NONBLOCK a FIFO that took the file's place since would be waited for.
        file = os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)), "rb")
    except OSError as error:
        raise CheckpointError(f"'{path}' cannot be read ({_reason(error)}).") from error
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise CheckpointError(f"'{path}' is not a regular file.")
    return file


def read_limited(path: str | Path, limit: int = MAX_JSON_BYTES) -> bytes:
    """The content of a regular file of at most `limit` bytes.

    Raises:
        CheckpointError: where there is none, or it is larger.
    """
    try:
        with open_regular(path) as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise CheckpointError(f"'{path}' cannot be read ({_reason(error)}).") from error
    if len(content) > limit:
        raise CheckpointError(f"'{path}' is larger than {limit >> 20} MiB, far more than such a file needs.")
    return content


def read_json(path: str | Path, *, finite: bool = True) -> dict[str, Any]:
    """A dictionary from a JSON file; see `parse_json`.

    Raises:
        CheckpointError: where the file is missing, no regular file, too large, damaged, or holds something else.
    """
    return parse_json(read_limited(path), f"'{path}'", finite=finite)


def parse_json(text: str | bytes, where: str, *, finite: bool = True) -> dict[str, Any]:
    """A dictionary from JSON text in UTF-8.

    Args:
        text: the JSON.
        where: what it is, for errors.
        finite: refuse NaN and infinities, which Python's JSON has beyond the standard; diffusers writes them for
            schedulers (`lambda_min_clipped`).

    Raises:
        CheckpointError: where it is damaged, nested deeper than `MAX_DEPTH`, holds a number that is not finite, or is
            no dictionary.
    """

    def number(literal: str) -> float:
        value = float(literal)
        if not math.isfinite(value):
            raise ValueError(f"the number {literal[:30]} is not finite")
        return value

    hooks: dict[str, Any] = {"parse_float": number, "parse_constant": number} if finite else {}
    try:
        value = json.loads(text, **hooks)
    except RecursionError as error:
        raise CheckpointError(f"{where} is nested deeper than {MAX_DEPTH} levels.") from error
    except ValueError as error:  # damaged JSON, not UTF-8, an integer of thousands of digits
        raise CheckpointError(f"{where} is not valid JSON ({_reason(error)}).") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{where} holds a {type(value).__name__}, not a dictionary.")
    if _deeper_than(value, MAX_DEPTH):
        raise CheckpointError(f"{where} is nested deeper than {MAX_DEPTH} levels.")
    return value


def is_finite(value: Any) -> bool:
    """Whether no number in a value that JSON can hold is infinite or NaN."""
    if isinstance(value, dict | list | tuple):
        return all(map(is_finite, value.values() if isinstance(value, dict) else value))
    return not isinstance(value, float) or math.isfinite(value)


def _deeper_than(value: Any, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels <= 0 or any(_deeper_than(part, levels - 1) for part in inner)


def _reason(error: BaseException) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split())[:200]


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Lines of a metrics.jsonl without damaged ones, as a crash or a disk leaves them; an absent file is empty."""
    lines = []
    for line in path.read_text(errors="replace").splitlines() if path.is_file() else ():
        with contextlib.suppress(ValueError, RecursionError):
            lines.append(json.loads(line))
    return [line for line in lines if isinstance(line, dict) and type(line.get("update")) in (int, float)]


@contextlib.contextmanager
def blamed(what: str, known: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Report what libraries raise inside as the fault of the file that they make something of.

    Args:
        what: cannot be done, for the message.
        known: exceptions that whoever calls deals with.

    Raises:
        CheckpointError: for any exception, a panic of a library in Rust included, but errors of realuid and `known`.
    """
    try:
        yield
    except BaseException as error:
        of_a_library = isinstance(error, Exception) or type(error).__name__ == "PanicException"
        if not of_a_library or isinstance(error, (RealUIDError, *known)):
            raise
        raise CheckpointError(f"{what} ({_reason(error)}).") from error
