"""Columns of a data set: tensors in memory, or rows that are read or computed on access."""

from __future__ import annotations

import functools
import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeAlias

import torch
from torch import Tensor

#: Maximum number of batches that a column reads ahead; the oldest ones are dropped.
_AHEAD = 16


class Column(ABC):
    """One row per sample, with random access by index, which need not be in memory.

    Indexing gives tensors on the CPU, as indexing a tensor does. `prefetch` has worker threads read what will be asked
    for soon; what an index gives never depends on it.

    Attributes:
        shape: (n, *shape of a row).
        dtype: of the rows.
        fingerprint: names the content; known without reading all of it.
        version: is another one when files were written again, the same in all copies or not; '' where there are none.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    fingerprint: str
    version = ""
    device = torch.device("cpu")

    @abstractmethod
    def read(self, index: Tensor) -> Tensor:
        """Rows by number: int64, shape (b,), to shape (b, *shape of a row). Called by several threads at a time."""

    def unreadable(self, index: Tensor) -> Tensor:
        """Which of these rows, which have been read, hold nothing and are to be left out: bool, shape (b,)."""
        return torch.zeros(len(index), dtype=torch.bool)

    def say_what_was_read(self) -> None:  # noqa: B027 (most columns have nothing to say)
        """Warn of rows that were left out or changed, once all of them were read."""

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Tensor | slice) -> Tensor:
        rows = numbers(index, len(self))
        waiting = self._pending.pop(_key(rows), None)
        return self.read(rows) if waiting is None else waiting.result()

    def prefetch(self, index: Tensor) -> None:
        """Begin to read rows that will be asked for by this very index; shape (b,)."""
        rows = numbers(index, len(self))
        key = _key(rows)
        if key not in self._pending:
            self._pending[key] = _workers().submit(self.read, rows)
        while len(self._pending) > _AHEAD:
            self._pending.pop(next(iter(self._pending))).cancel()

    @functools.cached_property
    def _pending(self) -> dict[bytes, Future[Tensor]]:
        return {}


class Pictures(Column):
    """Encoded images, which are cropped and resized when they are read."""

    @abstractmethod
    def sizes(self) -> Tensor:
        """Height and width of every image as it is stored, int64, shape (n, 2); 0 of those that cannot be read."""

    @abstractmethod
    def at(self, size: tuple[int, int]) -> Column:
        """The same images, read at this height and width."""


#: Data in memory, or on a device, is a tensor.
Values: TypeAlias = Tensor | Column


class Rows(Column):
    """Some rows of another column or of a tensor, in any order and as often as wanted.

    Args:
        column: the other one, on the CPU.
        index: numbers of its rows, int64, shape (n,), or a slice.
    """

    def __init__(self, column: Values, index: Tensor | slice):
        self.column, self.index = column, numbers(index, len(column))
        self.shape, self.dtype = (len(self.index), *column.shape[1:]), column.dtype
        self.fingerprint = hashed(content(column), _key(self.index))
        self.version = "" if isinstance(column, Tensor) else column.version

    def read(self, index: Tensor) -> Tensor:
        rows = self.index[index]
        return self.column[rows] if isinstance(self.column, Tensor) else self.column.read(rows)

    def unreadable(self, index: Tensor) -> Tensor:
        return (
            super().unreadable(index) if isinstance(self.column, Tensor) else self.column.unreadable(self.index[index])
        )

    def say_what_was_read(self) -> None:
        if isinstance(self.column, Column):
            self.column.say_what_was_read()


class Derived(Column):
    """What a function makes of the rows of another column.

    Args:
        column: the other one.
        function: (b, *shape of a row) to another shape and the same dtype, row by row.
        key: names the function, for the fingerprint.
        shape: of what it makes of a row; by default the same.
    """

    def __init__(
        self, column: Column, function: Callable[[Tensor], Tensor], key: str, shape: tuple[int, ...] | None = None
    ):
        self.column, self.function = column, function
        self.shape, self.dtype = (len(column), *(shape or column.shape[1:])), column.dtype
        self.fingerprint, self.version = hashed(column.fingerprint, key), column.version

    def read(self, index: Tensor) -> Tensor:
        return self.function(self.column.read(index))

    def unreadable(self, index: Tensor) -> Tensor:
        return self.column.unreadable(index)

    def say_what_was_read(self) -> None:
        self.column.say_what_was_read()


def moved(values: Values, device: torch.device | str) -> Values:
    """A tensor on a device; what is not in memory stays where it is."""
    return values.to(device) if isinstance(values, Tensor) else values


def some_of(values: Values, index: Tensor | slice) -> Values:
    """Some rows, in memory where the column is."""
    return values[index] if isinstance(values, Tensor) else Rows(values, index)


def content(values: Values) -> bytes:
    """What a fingerprint is made of: all bytes of a tensor, or the fingerprint of a column."""
    if isinstance(values, Tensor):
        return values.cpu().contiguous().numpy().tobytes()
    return values.fingerprint.encode()


def hashed(*parts: str | bytes) -> str:
    """A short fingerprint of several parts."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(hashlib.sha256(part.encode() if isinstance(part, str) else part).digest())
    return digest.hexdigest()[:16]


def numbers(index: Tensor | slice, count: int) -> Tensor:
    """Numbers of rows, int64 on the CPU, from what a tensor may be indexed with."""
    if isinstance(index, slice):
        return torch.arange(*index.indices(count))
    if index.dtype == torch.bool:
        return index.cpu().nonzero().flatten()
    return index.cpu().long()


def _key(rows: Tensor) -> bytes:
    return hashlib.blake2b(rows.numpy().tobytes(), digest_size=16).digest()


@functools.cache
def _workers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(min(4, os.cpu_count() or 1), "realuid-data")
