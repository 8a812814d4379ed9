"""Image files decoded by threads into one uint8 tensor."""

from __future__ import annotations

import dataclasses
import os
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import psutil
import torch
from torch import Tensor

from realuid.data.captions import captions_of
from realuid.data.dataset import Dataset
from realuid.data.decode import CHANGES, LARGE, Decoded, OtherFormatError, UnreadableError, alone_if, decode
from realuid.data.files import Files, few, quoted, shortened
from realuid.data.labels import labels_of
from realuid.errors import DataError, DataWarning


@dataclass(frozen=True)
class Reading:
    """How images are read.

    Args:
        channels: 1 or 3 to convert images; None keeps them as they are.
        resolution: side length to crop and resize images to; None keeps their size.
        skip_damaged: leave images out that cannot be read, instead of an error.
    """

    channels: int | None = None
    resolution: int | None = None
    skip_damaged: bool = False

    def __post_init__(self) -> None:
        if self.channels not in (None, 1, 3):
            raise DataError(f"channels = {self.channels}: allowed are 1 (grey) and 3 (RGB).")
        if self.resolution is not None and (type(self.resolution) is not int or not 1 <= self.resolution <= 2**15):
            raise DataError(f"resolution = {self.resolution}: allowed are positive side lengths up to {2**15}.")


class Pixels(NamedTuple):
    """Images, uint8, shape (n, c, h, w), and the names that they have."""

    values: Tensor
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


class _Read(NamedTuple):
    """What is known of an image once it has been read: its shape and changes, or why it cannot be read."""

    shape: tuple[int, ...] = ()
    changes: frozenset[str] = frozenset()
    problem: UnreadableError | None = None


def decode_all(files: Files, how: Reading) -> Pixels:
    """Decode images, which must all end in one shape.

    Raises:
        DataError: for images that cannot be read (all of them are named), unless `how.skip_damaged`; images of several
            shapes; and more than fit into memory.
    """
    names = files.names
    first = next((one for one in (_one(files, name, how) for name in names) if isinstance(one, Decoded)), None)
    shape = (0, 0, 0) if first is None else first.pixels.shape
    _check_memory(files, (len(names), *shape))
    pixels = np.empty((len(names), shape[2], *shape[:2]), np.uint8)

    def put(index: int) -> _Read:
        one = _one(files, names[index], how)
        if isinstance(one, UnreadableError):
            return _Read(problem=one)
        if one.pixels.shape == shape:
            pixels[index] = one.pixels.transpose(2, 0, 1)
        return _Read(one.pixels.shape, one.changes)

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        results = list(pool.map(put, range(len(names))))
    good = _check_all_read(files, results, how)
    read = {names[i]: results[i] for i in good}
    _check_shapes(read, files.source)
    _say_changes(files, read)
    values = torch.from_numpy(pixels)
    return Pixels(values if len(good) == len(names) else values[good], list(read))


def decode_each(files: Files, how: Reading) -> Iterator[tuple[str, np.ndarray]]:
    """Images that may differ in shape, one after the other, each uint8, shape (h, w, c); errors as of `decode_all`."""
    results, read = [], {}
    for name in files.names:
        one = _one(files, name, how)
        results.append(_Read(problem=one) if isinstance(one, UnreadableError) else _Read(one.pixels.shape, one.changes))
        if isinstance(one, Decoded):
            read[name] = results[-1]
            yield name, one.pixels
    _check_all_read(files, results, how)
    _say_changes(files, read)


def _one(files: Files, name: str, how: Reading) -> Decoded | UnreadableError:
    """An image, or why it cannot be read."""
    try:
        with alone_if(files.entries[name].size > LARGE):
            return decode(files.read(name), how.channels, how.resolution)
    except UnreadableError as error:
        return error
    except DataError as error:
        return UnreadableError(str(error))


def _check_memory(files: Files, shape: tuple[int, int, int, int]) -> None:
    needed, free = int(np.prod(shape)), psutil.virtual_memory().available
    if needed > free:
        count, height, width, channels = shape
        raise DataError(
            f"the {count} images of '{files.source}', {width}x{height} with {channels} channel(s), take "
            f"{needed / 2**30:.1f} GiB, and {free / 2**30:.1f} GiB of memory are free. Pass a smaller resolution "
            "(--data.resolution)."
        )


def _check_all_read(files: Files, results: Sequence[_Read], how: Reading) -> list[int]:
    """The numbers of images that were read.

    What is left out is said: files of other formats that have no ending, and, with `how.skip_damaged`, damaged ones.

    Raises:
        DataError: for images that cannot be read.
    """
    problems = {n: r.problem for n, r in zip(files.names, results, strict=True) if r.problem is not None}
    other = [n for n, e in problems.items() if isinstance(e, OtherFormatError) and not PurePosixPath(n).suffix]
    total = len(files.entries)
    damaged = [f"{quoted(name)} ({e})" for name, e in problems.items() if name not in set(other)]
    good = [i for i, result in enumerate(results) if result.problem is None]
    if damaged and not (how.skip_damaged and good):
        raise DataError(
            f"{len(damaged)} of {total} images of '{files.source}' cannot be read: {shortened(damaged, 20)}. "
            "Remove or repair them, or leave them out with skip_damaged (--data.skip-damaged)."
        )
    if not good:
        raise DataError(f"'{files.source}' holds no images, but {few(other)}.")
    if left_out := [*files.left_out, *other]:
        _warn(files, f"{len(left_out)} files are left out, since they are no images: {few(left_out)}")
    if damaged:
        _warn(files, f"{len(damaged)} of {total} images are left out, as unreadable: {shortened(damaged, 3)}")
    return good


def _check_shapes(read: Mapping[str, _Read], source: str) -> None:
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


def _say_changes(files: Files, read: Mapping[str, _Read]) -> None:
    for change, count in sorted(Counter(change for result in read.values() for change in result.changes).items()):
        _warn(files, f"{count} of {len(read)} images {CHANGES[change]}")


def _warn(files: Files, text: str) -> None:
    warnings.warn(f"'{files.source}': {text}.", DataWarning, stacklevel=3)
