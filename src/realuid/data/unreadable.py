"""What could not be read of image files, or was changed in them: errors and warnings."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import NamedTuple

from realuid.data.decode import CHANGES, GoneError, OtherFormatError, UnreadableError
from realuid.data.files import Files, few, quoted, shortened
from realuid.errors import DataError, DataWarning


class Read(NamedTuple):
    """What is known of an image once it has been read: its shape and changes, or why it cannot be read."""

    shape: tuple[int, ...] = ()
    changes: frozenset[str] = frozenset()
    problem: UnreadableError | None = None


def check_all_read(files: Files, problems: Mapping[str, UnreadableError], skip_damaged: bool) -> None:
    """Raise DataError for images that cannot be read; say what is left out: files of other formats that have no ending,
    and, with `skip_damaged`, damaged ones.
    """
    check_read(files, problems, skip_damaged)
    say_left_out(files, problems)


def _sorted_out(problems: Mapping[str, UnreadableError]) -> tuple[list[str], list[str]]:
    """Files that are no images, and images that are damaged, with the reason."""
    other = [n for n, e in problems.items() if isinstance(e, OtherFormatError) and not PurePosixPath(n).suffix]
    return other, [f"{quoted(name)} ({e})" for name, e in problems.items() if name not in set(other)]


def check_read(files: Files, problems: Mapping[str, UnreadableError], skip_damaged: bool) -> None:
    """Raise DataError for images that are damaged, unless they are to be left out, and where none can be read."""
    other, damaged = _sorted_out(problems)
    total = len(files.entries)
    gone = [quoted(name) for name, error in problems.items() if isinstance(error, GoneError)]
    if gone and skip_damaged:
        raise DataError(
            f"{len(gone)} of {total} images of '{files.source}' are no longer there: {shortened(gone, 20)}. Bring them "
            "back, or start again without them: skip_damaged leaves out damaged images only."
        )
    if damaged and not (skip_damaged and len(problems) < total):
        raise DataError(
            f"{len(damaged)} of {total} images of '{files.source}' cannot be read: {shortened(damaged, 20)}. "
            "Remove or repair them, or leave them out with skip_damaged (--data.skip-damaged)."
        )
    if len(problems) == total:
        raise DataError(f"'{files.source}' holds no images, but {few(other)}.")


def say_left_out(files: Files, problems: Mapping[str, UnreadableError]) -> None:
    """Warn of files that are left out."""
    other, damaged = _sorted_out(problems)
    if left_out := [*files.left_out, *other]:
        _warn(files, f"{len(left_out)} files are left out, since they are no images: {few(left_out)}")
    if damaged:
        count = f"{len(damaged)} of {len(files.entries)}"
        _warn(files, f"{count} images are left out, as unreadable: {shortened(damaged, 3)}")


def check_shapes(read: Mapping[str, Read], source: str) -> None:
    """Raise DataError for images of several shapes."""
    counts = Counter(result.shape for result in read.values())
    if len(counts) == 1:
        return
    first = {result.shape: name for name, result in reversed(list(read.items()))}
    told = [
        f"{count} {'is' if count == 1 else 'are'} {_describe(s)} ('{first[s]}')" for s, count in counts.most_common(4)
    ]
    more = f" and {len(counts) - 4} more shapes" if len(counts) > 4 else ""
    options = ["resolution (--data.resolution)"] if len({s[:2] for s in counts}) > 1 else []
    options += ["channels, 1 or 3 (--data.channels)"] if len({s[2] for s in counts}) > 1 else []
    raise DataError(f"images of '{source}' differ: {', '.join(told)}{more}. Pass {' and '.join(options)}.")


def _describe(shape: tuple[int, ...]) -> str:
    height, width, channels = shape
    return f"{width}x{height} with {channels} channel{'s' if channels > 1 else ''}"


def say_changes(files: Files, read: Mapping[str, Read], total: int) -> None:
    """Warn of what was changed in images, of `total` ones."""
    for change, count in sorted(Counter(change for result in read.values() for change in result.changes).items()):
        _warn(files, f"{count} of {total} images {CHANGES[change]}")


def _warn(files: Files, text: str) -> None:
    warnings.warn(f"'{files.source}': {text}.", DataWarning, stacklevel=3)
