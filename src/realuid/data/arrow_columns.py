"""Columns of memory-mapped Arrow files, read by row."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from torch import Tensor

from realuid.data.arrow_files import ArrowFiles
from realuid.data.columns import Column, Pictures, hashed
from realuid.data.decode import UnreadableError, decode, decoders, read_named, size_of
from realuid.data.images import Reading
from realuid.errors import CheckpointError, DataError

if TYPE_CHECKING:
    import pyarrow as pa

T = TypeVar("T")


class ArrayColumn(Column):
    """Arrays of one shape, as they are stored.

    Args:
        files: that hold the column.
        name: of the column.
        shape: of a row.
        source: for messages.
        fingerprint: of the data set.

    Raises:
        DataError: where rows are missing, or not of this shape.
    """

    def __init__(self, files: ArrowFiles, name: str, shape: tuple[int, ...], source: str, fingerprint: str):
        self._files, self._what = files, f"column '{name}' of '{source}'"
        numbers = [_flat(batch.column(name), math.prod(shape), self._what) for batch in files.batches]
        self._kind = numbers[0].dtype
        self._positions = [files.position(i, flat.ctypes.data, self._what) for i, flat in enumerate(numbers)]
        self.shape, self.dtype = (len(files), *shape), torch.from_numpy(np.empty(0, self._kind)).dtype
        self.fingerprint = hashed(fingerprint, name)

    def read(self, index: Tensor) -> Tensor:
        out = np.empty((len(index), math.prod(self.shape[1:])), self._kind)
        size = out.strides[0]
        for row, (batch, place) in zip(out, self._files.find(index.numpy()), strict=True):
            row[:] = np.frombuffer(self._files.read(batch, self._positions[batch] + place * size, size), self._kind)
        if self.dtype.is_floating_point and not np.isfinite(out).all():
            raise DataError(f"{self._what} holds NaN or infinite numbers. Leave those rows out.")
        return torch.from_numpy(out).view(-1, *self.shape[1:])


class RaggedColumn(Column):
    """Sequences of different lengths, padded at their end with zeros to the longest one.

    Args:
        files: that hold the column.
        name: of the column.
        source: for messages.
        fingerprint: of the data set.

    Raises:
        DataError: where rows are missing.
    """

    def __init__(self, files: ArrowFiles, name: str, source: str, fingerprint: str):
        self._files, self._what = files, f"column '{name}' of '{source}'"
        columns = [batch.column(name) for batch in files.batches]
        elements, inner = [column.values for column in columns], tuple[int, ...]()
        while not hasattr(elements[0], "to_numpy") or hasattr(elements[0].type, "list_size"):
            inner = (*inner, elements[0].type.list_size)
            elements = [element.values for element in elements]
        numbers = [element.to_numpy(zero_copy_only=True) for element in elements]
        self._kind, self._size = numbers[0].dtype, math.prod(inner) * numbers[0].dtype.itemsize
        self._positions = [files.position(i, flat.ctypes.data, self._what) for i, flat in enumerate(numbers)]
        self._ends = [_offsets(column) for column in columns]
        longest = max(int(np.diff(ends).max()) for ends in self._ends)
        self.shape, self.dtype = (len(files), longest, *inner), torch.from_numpy(np.empty(0, self._kind)).dtype
        self.fingerprint = hashed(fingerprint, name)

    def read(self, index: Tensor) -> Tensor:
        out = np.zeros((len(index), math.prod(self.shape[1:])), self._kind)
        for row, (batch, place) in zip(out, self._files.find(index.numpy()), strict=True):
            start, end = self._ends[batch][place : place + 2].tolist()
            content = self._files.read(batch, self._positions[batch] + start * self._size, (end - start) * self._size)
            row[: len(content) // self._kind.itemsize] = np.frombuffer(content, self._kind)
        return torch.from_numpy(out).view(-1, *self.shape[1:])


class ImageColumn(Pictures):
    """Encoded images, decoded when they are asked for.

    Args:
        files: that hold the column.
        name: of the column.
        how: channels and resolution.
        source: for messages.
        fingerprint: of the data set.

    Raises:
        DataError: where the column holds something else, or the first image cannot be read.
    """

    dtype = torch.uint8

    def __init__(self, files: ArrowFiles, name: str, how: Reading, source: str, fingerprint: str):
        self._files, self._how, self._source = files, how, source
        self._origin = (name, source, fingerprint)
        self._columns = [batch.column(name) for batch in files.batches]
        what = f"column '{name}' of '{source}'"
        if not all(_encoded(column) for column in self._columns):
            raise DataError(f"{what} holds no encoded images. Write it again by `realuid prepare`.")
        contents = [column.field("bytes") for column in self._columns]
        data = [column.buffers()[2] for column in contents]
        self._positions = [files.position(i, d.address, what) if d else 0 for i, d in enumerate(data)]
        self._ends = [_offsets(column) for column in contents]
        self.fingerprint = hashed(fingerprint, name, str((how.channels, how.resolution)))
        self.shape = (len(files), *self._pixels(0).shape)

    def read(self, index: Tensor) -> Tensor:
        images = list(decoders().map(self._pixels, index.tolist()))
        for row, pixels in zip(index.tolist(), images, strict=True):
            if pixels.shape != self.shape[1:]:
                (c, h, w), (channels, height, width) = pixels.shape, self.shape[1:]
                raise DataError(
                    f"images of '{self._source}' differ: row {row} is {w}x{h} with {c} channel(s), row 0 is "
                    f"{width}x{height} with {channels}. Pass resolution (--data.resolution) and channels "
                    "(--data.channels)."
                )
        return torch.from_numpy(np.stack(images)) if images else torch.empty((0, *self.shape[1:]), dtype=torch.uint8)

    def sizes(self) -> Tensor:
        return torch.tensor(list(decoders().map(lambda row: self._read(row, size_of), range(len(self)))))

    def at(self, size: tuple[int, int]) -> ImageColumn:
        name, *origin = self._origin
        return ImageColumn(self._files, name, dataclasses.replace(self._how, resolution=size), *origin)

    def _pixels(self, row: int) -> np.ndarray:
        one = self._read(row, lambda content: decode(content, self._how.channels, self._how.resolution))
        return one.pixels.transpose(2, 0, 1)

    def _read(self, row: int, what: Callable[[bytes], T]) -> T:
        """What is read of an encoded image."""
        try:
            return what(self._content(row))
        except (UnreadableError, CheckpointError, OSError) as error:
            raise DataError(
                f"row {row} of '{self._source}' cannot be read ({error}). Write the data again without it, or with "
                "`realuid prepare --skip-damaged` from the files that it was made of."
            ) from error

    def _content(self, row: int) -> bytes:
        """An encoded image, from the file itself or from one that it names."""
        ((batch, place),) = self._files.find(np.array([row]))
        start, end = self._ends[batch][place : place + 2].tolist()
        if end > start:
            return self._files.read(batch, self._positions[batch] + start, end - start)
        path = (self._columns[batch][place].as_py() or {}).get("path")
        if not path:
            raise UnreadableError("there is no image")
        return read_named(path, [self._source])


def _flat(array: pa.Array, size: int, what: str) -> np.ndarray:
    """The numbers of a column of a record batch where they lie, `size` a row."""
    import pyarrow as pa

    flat, missing = array.storage if isinstance(array, pa.ExtensionArray) else array, 0
    while not pa.types.is_primitive(flat.type):
        missing += flat.null_count
        flat = flat.flatten()
    if missing + flat.null_count or len(flat) != len(array) * size:
        raise DataError(f"{what} has rows that are missing or of different shapes.")
    return flat.to_numpy(zero_copy_only=True)


def _encoded(array: pa.Array) -> bool:
    import pyarrow as pa

    return pa.types.is_struct(array.type) and array.type.get_field_index("bytes") >= 0


def _offsets(array: pa.Array) -> np.ndarray:
    """Where rows of a column of bytes begin and end in its data, shape (rows + 1,); an own copy."""
    kind = np.int64 if str(array.type).startswith("large") else np.int32
    first, count = array.offset, len(array) + 1
    return np.frombuffer(array.buffers()[1], kind)[first : first + count].copy()
