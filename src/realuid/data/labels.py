"""Classes of image files: from dataset.json, from .cls files of a tar, or from folder names."""

from __future__ import annotations

import json
import operator
import posixpath
import re
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

import torch
from torch import Tensor

from realuid.data.files import CLASS, LABELS, Entry, Files, common_folder, few, read_entry
from realuid.errors import DataError, DataWarning

#: More classes than any data set has: a larger label is a mistake, and would cost its size in memory.
_CLASSES = 1_000_000
#: Folders that split a data set rather than name its classes.
_SPLITS = {"train", "training", "val", "valid", "validation", "dev", "test", "testing"}
#: A folder and a file of the EDM layout: 1000 images a folder, which are no classes.
_NUMBERED = re.compile(r"(\d{5})/img(\d{8})\.\w+")
#: Images outside of the class folders are left out where they are fewer than this share of all.
_STRAY = 0.1


class Labels(NamedTuple):
    """The classes of images.

    Attributes:
        names: the images that have one, in order.
        labels: their classes, int64, shape (n,).
        classes: names of the classes.
    """

    names: list[str]
    labels: Tensor
    classes: tuple[str, ...]


def labels_of(files: Files) -> Labels | None:
    """The classes of images, or None where there are none, or only one: one class is no label.

    dataset.json counts first: at the top, or wherever all images lie below it. It gives every image its class, or, as
    `{"labels": null}`, none. Next come .cls files, one beside every image, and last folders: where images lie in
    several ones, these are the classes, numbers in their own order. Images beside such folders are left out, and this
    is said; where they are many, none has a label, which is said, too.

    Raises:
        DataError: for labels that do not fit the images, or folders that look like splits of a data set.
    """
    if files.listings and (found := _covering(files)) is not None:
        return _from_listing(files, found)
    if files.classes:
        return _from_class_files(files)
    return _from_folders(files)


def _covering(files: Files) -> str | None:
    """The folder of the dataset.json that counts, the deepest one that all images lie below; others are named."""
    names = files.names
    above = [f for f in files.listings if f == "" or f == files.within or all(n.startswith(f"{f}/") for n in names)]
    above += [f for f in files.listings if f not in above and f"{files.within}/".startswith(f"{f}/")]
    found = max(above, key=len, default=None)
    others = [posixpath.join(folder, LABELS) for folder in sorted(files.listings) if folder != found]
    if others:
        _warn(files, f"labels are not read from {few(others)}: not all images lie below")
    return found


def _from_listing(files: Files, folder: str) -> Labels | None:
    table = _read_listing(files, folder)
    if not table:
        return None
    known = {name: table.get(name, table.get(posixpath.join(files.within, name))) for name in files.names}
    missing = [name for name, label in known.items() if label is None]
    if missing:
        raise DataError(f"{LABELS} of '{files.source}' has no label for {few(missing)}.")
    if not files.within and len(table) > len(known):
        _warn(files, f"{len(table) - len(known)} of {len(table)} labels in {LABELS} are of images that are not there")
    return _numbered(files, list(known.values()), LABELS)  # type: ignore[arg-type]


def _read_listing(files: Files, folder: str) -> dict[str, int]:
    where = f"{posixpath.join(folder, LABELS)} of '{files.source}'"
    try:
        pairs = json.loads(read_entry(files.listings[folder]))["labels"]
        listed = {} if pairs is None else {name: operator.index(label) for name, label in pairs}
        return {posixpath.normpath(posixpath.join(folder, name)): label for name, label in listed.items()}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        reason = f"{error}" if isinstance(error, DataError) else type(error).__name__
        raise DataError(f'{where} is not {{"labels": [[name, class], ...]}} ({reason}).') from error


def _from_class_files(files: Files) -> Labels | None:
    missing = [name for name in files.names if name not in files.classes]
    if missing:
        raise DataError(f"'{files.source}' has no {CLASS} file beside {few(missing)}, but beside other images.")
    return _numbered(files, [_class_in(files, name) for name in files.names], f"{CLASS} files")


def _class_in(files: Files, name: str) -> int:
    entry: Entry = files.classes[name]
    try:
        return int(read_entry(entry)) if entry.size < 100 else int("too long")
    except ValueError as error:
        raise DataError(f"the {CLASS} file of '{name}' in '{files.source}' holds no whole number.") from error


def _numbered(files: Files, numbers: Sequence[int], where: str) -> Labels | None:
    if not 0 <= min(numbers) <= max(numbers) < _CLASSES:
        raise DataError(
            f"{where} of '{files.source}' has labels from {min(numbers)} to {max(numbers)}. Allowed are 0 to "
            f"{_CLASSES - 1}."
        )
    if len(set(numbers)) < 2:
        return None
    classes = tuple(map(str, range(max(numbers) + 1)))
    if empty := sorted(set(range(len(classes))) - set(numbers)):
        _warn(files, f"{len(empty)} of {len(classes)} classes have no image: {few(list(map(str, empty)))}")
    return Labels(files.names, torch.tensor(numbers), classes)


def _from_folders(files: Files) -> Labels | None:
    above = common_folder(files.names)
    inside = {name: name.removeprefix(f"{above}/") if above else name for name in files.names}
    if all(_is_numbered(short) for short in inside.values()):
        return None
    folder_of = {name: PurePosixPath(short).parts[0] for name, short in inside.items() if "/" in short}
    folders = sorted(set(folder_of.values()), key=_natural)
    if len(folders) < 2:
        return None
    if {folder.lower() for folder in folders} <= _SPLITS:
        raise DataError(
            f"'{files.source}' holds {', '.join(folders)}, which look like parts of a data set and not like classes. "
            "Pass one of them."
        )
    stray = [name for name in files.names if name not in folder_of]
    if len(stray) >= _STRAY * len(inside):
        _warn(
            files,
            f"{len(stray)} of {len(inside)} images lie beside the {len(folders)} folders ({few(stray)}), so folders "
            "are not taken for classes and no image has a label",
        )
        return None
    if stray:
        _warn(
            files,
            f"{len(stray)} of {len(inside)} images are left out, since they lie beside the folders of the "
            f"{len(folders)} classes: {few(stray)}",
        )
    number = {folder: i for i, folder in enumerate(folders)}
    return Labels(list(folder_of), torch.tensor([number[f] for f in folder_of.values()]), tuple(folders))


def _is_numbered(name: str) -> bool:
    match = _NUMBERED.fullmatch(name)
    return match is not None and int(match[1]) == int(match[2]) // 1000


def _natural(name: str) -> tuple[list[tuple[int, str]], str]:
    """A key that sorts numbers in names by their value."""
    parts = re.split(r"([0-9]{1,18})", name)
    return [(int(part), "") if part.isdecimal() and part.isascii() else (-1, part) for part in parts], name


def counted(labels: Tensor, classes: Sequence[str], shown: int = 10) -> str:
    """Classes and how many samples they have, for a message."""
    counts = Counter(labels.tolist())
    parts = [f"{name} {counts[i]}" for i, name in enumerate(classes[:shown])]
    return ", ".join(parts) + (f", and {len(classes) - shown} more" if len(classes) > shown else "")


def _warn(files: Files, text: str) -> None:
    warnings.warn(f"'{files.source}': {text}.", DataWarning, stacklevel=2)
