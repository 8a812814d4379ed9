"""Image files decoded by threads into one uint8 tensor."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import psutil
import torch
from torch import Tensor

from realuid.data.captions import captions_of
from realuid.data.columns import Pictures, Values, hashed
from realuid.data.dataset import Dataset
from realuid.data.decode import (
    GONE,
    LARGE,
    Decoded,
    GoneError,
    Size,
    UnreadableError,
    alone_if,
    decode,
    decoders,
    size_of,
)
from realuid.data.files import Files
from realuid.data.labels import labels_of
from realuid.data.unreadable import Read, check_all_read, check_read, check_shapes, say_changes, say_left_out
from realuid.errors import DataError

T = TypeVar("T")


@dataclass(frozen=True)
class Reading:
    """How images are read.

    Args:
        channels: 1 or 3 to convert images; None keeps them as they are.
        resolution: side length, or height and width, to crop and resize images to; None keeps their size.
        skip_damaged: leave images out that cannot be read, instead of an error.
        by_row: read images when they are asked for, instead of all into memory.
    """

    channels: int | None = None
    resolution: Size = None
    skip_damaged: bool = False
    by_row: bool = False

    def __post_init__(self) -> None:
        if self.channels not in (None, 1, 3):
            raise DataError(f"channels = {self.channels}: allowed are 1 (grey) and 3 (RGB).")
        asked = self.resolution if isinstance(self.resolution, tuple) else (self.resolution,)
        if self.resolution is not None and any(type(side) is not int or not 1 <= side <= 2**15 for side in asked):
            raise DataError(f"resolution = {self.resolution}: allowed are positive side lengths up to {2**15}.")


class Pixels(NamedTuple):
    """Images, uint8, shape (n, c, h, w), and the names that they have."""

    values: Values
    names: list[str]


def read_images(files: Files, how: Reading) -> Dataset:
    """Images of files as a data set, with their classes; what is left out or changed is said.

    Raises:
        DataError: for images that cannot be read, or are not all of one shape.
    """
    return read_named(files, how)[0]


def read_named(files: Files, how: Reading) -> tuple[Dataset, list[str]]:
    """`read_images`, and the names of its images."""
    found = labels_of(files)
    if found is not None:
        files = dataclasses.replace(files, entries={name: files.entries[name] for name in found.names})
    values, names = decode_all(files, how)
    captions = captions_of(files)
    said = [captions[name] for name in names] if captions else ()
    data = Dataset(values, name=Path(files.source).stem or files.source, captions=said)
    if found is None:
        return data, names
    label_of = dict(zip(found.names, found.labels.tolist(), strict=True))
    labels = torch.tensor([label_of[name] for name in names])
    return dataclasses.replace(data, labels=labels, classes=found.classes), names


def decode_all(files: Files, how: Reading) -> Pixels:
    """Decode images, which must all end in one shape; or leave it to a `FileColumn`, where `how.by_row`.

    Raises:
        DataError: for images that cannot be read (all of them are named), unless `how.skip_damaged`; images of several
            shapes; and more than fit into memory.
    """
    names = files.names
    if how.by_row:
        return Pixels(FileColumn(files, how), names)
    first = next((one for one in (_one(files, name, how) for name in names) if isinstance(one, Decoded)), None)
    shape = (0, 0, 0) if first is None else first.pixels.shape
    _check_memory(files, (len(names), *shape))
    pixels = np.empty((len(names), shape[2], *shape[:2]), np.uint8)

    def put(index: int) -> Read:
        one = _one(files, names[index], how)
        if isinstance(one, UnreadableError):
            return Read(problem=one)
        if one.pixels.shape == shape:
            pixels[index] = one.pixels.transpose(2, 0, 1)
        return Read(one.pixels.shape, one.changes)

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        results = list(pool.map(put, range(len(names))))
    problems = {n: r.problem for n, r in zip(names, results, strict=True) if r.problem is not None}
    check_all_read(files, problems, how.skip_damaged)
    good = [i for i, result in enumerate(results) if result.problem is None]
    read = {names[i]: results[i] for i in good}
    check_shapes(read, files.source)
    say_changes(files, read, len(read))
    values = torch.from_numpy(pixels)
    return Pixels(values if len(good) == len(names) else values[good], list(read))


def decode_each(files: Files, how: Reading) -> Iterator[tuple[str, np.ndarray]]:
    """Images that may differ in shape, one after the other, each uint8, shape (h, w, c); errors as of `decode_all`."""
    problems, read = {}, {}
    for name in files.names:
        one = _one(files, name, how)
        if isinstance(one, Decoded):
            read[name] = Read(one.pixels.shape, one.changes)
            yield name, one.pixels
        else:
            problems[name] = one
    check_all_read(files, problems, how.skip_damaged)
    say_changes(files, read, len(read))


class FileColumn(Pictures):
    """Images in files, decoded when they are asked for. What was left out or changed can be said at the end.

    Args:
        files: the images, in the order of their names.
        how: channels and resolution. With `skip_damaged`, rows that cannot be read are black, and `unreadable` tells.

    Raises:
        DataError: where none can be read; when rows are read, for one that cannot be, or is of another shape.
    """

    dtype = torch.uint8

    def __init__(self, files: Files, how: Reading):
        self._files, self._how, self._names = files, how, files.names
        self._problems: dict[int, UnreadableError] = {}
        self._read: dict[int, Read] = {}
        for row, name in enumerate(self._names):
            first = _one(files, name, how)
            if isinstance(first, Decoded):
                self.shape = (len(self._names), first.pixels.shape[2], *first.pixels.shape[:2])
                break
            self._problems[row] = first
        else:
            self._check(self._problems)
        listed = "\n".join(f"{name} {files.entries[name].size}" for name in self._names)
        self.version = hashed("\n".join(str(files.entries[name].version) for name in self._names))
        self.fingerprint = hashed(files.source, listed, str((how.channels, how.resolution, how.skip_damaged)))

    def read(self, index: Tensor) -> Tensor:
        rows = index.tolist()
        out = np.zeros((len(rows), *self.shape[1:]), np.uint8)
        images = decoders().map(lambda row: _one(self._files, self._names[row], self._how), rows)
        for place, (row, one) in enumerate(zip(rows, images, strict=True)):
            if isinstance(one, UnreadableError):
                self._problems[row] = one
                continue
            self._problems.pop(row, None)  # it may have been out of reach before
            pixels = one.pixels.transpose(2, 0, 1)
            if pixels.shape != self.shape[1:]:
                (c, h, w), (channels, height, width) = pixels.shape, self.shape[1:]
                raise DataError(
                    f"images of '{self._files.source}' differ: '{self._names[row]}' is {w}x{h} with {c} channel(s), "
                    f"the first one {width}x{height} with {channels}. Pass --resolution and --channels."
                )
            if one.changes:
                self._read[row] = Read(changes=one.changes)
            out[place] = pixels
        self._check(rows)
        return torch.from_numpy(out)

    def sizes(self) -> Tensor:
        found = list(decoders().map(lambda name: _size(self._files, name), self._names))
        self._problems |= {row: size for row, size in enumerate(found) if isinstance(size, UnreadableError)}
        self._check(self._problems)
        return torch.tensor([(0, 0) if isinstance(size, UnreadableError) else size for size in found])

    def at(self, size: tuple[int, int]) -> FileColumn:
        return FileColumn(self._files, dataclasses.replace(self._how, resolution=size))

    def unreadable(self, index: Tensor) -> Tensor:
        return torch.tensor([row in self._problems for row in index.tolist()], dtype=torch.bool)

    def say_what_was_read(self) -> None:
        say_left_out(self._files, {self._names[row]: e for row, e in self._problems.items()})
        changed = {self._names[row]: found for row, found in self._read.items()}
        say_changes(self._files, changed, len(self) - len(self._problems))

    def _check(self, rows: Iterable[int]) -> None:
        problems = {self._names[row]: self._problems[row] for row in rows if row in self._problems}
        check_read(self._files, problems, self._how.skip_damaged)


def _one(files: Files, name: str, how: Reading) -> Decoded | UnreadableError:
    """An image, or why it cannot be read."""
    return _read(files, name, lambda content: decode(content, how.channels, how.resolution))


def _size(files: Files, name: str) -> tuple[int, int] | UnreadableError:
    """Height and width of an image, or why it cannot be read."""
    return _read(files, name, size_of)


def _read(files: Files, name: str, what: Callable[[bytes], T]) -> T | UnreadableError:
    """What is read of a file's content, or why it cannot be."""
    try:
        with alone_if(files.entries[name].size > LARGE):
            return what(files.read(name))
    except UnreadableError as error:
        return error
    except DataError as error:
        return (GoneError if getattr(error.__cause__, "errno", None) in GONE else UnreadableError)(str(error))


def _check_memory(files: Files, shape: tuple[int, int, int, int]) -> None:
    needed, free = int(np.prod(shape)), psutil.virtual_memory().available
    if needed > free:
        count, height, width, channels = shape
        raise DataError(
            f"the {count} images of '{files.source}', {width}x{height} with {channels} channel(s), take "
            f"{needed / 2**30:.1f} GiB, and {free / 2**30:.1f} GiB of memory are free. Pass a smaller resolution "
            "(--data.resolution)."
        )
