"""Data that is not in memory, as the library sees it: rows are read by index, never many at a time."""

from __future__ import annotations

import dataclasses
import threading

import torch
from torch import Tensor

from realuid.data import Column, Dataset
from realuid.data.columns import hashed


class Stored(Column):
    """A tensor that is read like a file; remembers what was read and by which threads."""

    def __init__(self, rows: Tensor, most: int = 1000):
        self._rows, self._most = rows, most
        self.shape, self.dtype = tuple(rows.shape), rows.dtype
        self.fingerprint = hashed(rows.numpy().tobytes())
        self.reads: list[list[int]] = []
        self.threads: list[str] = []

    def read(self, index: Tensor) -> Tensor:
        assert index.dtype == torch.int64 and index.dim() == 1
        assert len(index) <= self._most, f"{len(index)} rows read at once"
        self.reads.append(index.tolist())
        self.threads.append(threading.current_thread().name)
        return self._rows[index]


def stored(data: Dataset, most: int = 1000) -> Dataset:
    """The same data with nothing but its labels in memory."""
    columns = {name: Stored(column, most) for name, column in data.columns.items()}
    sources = None if data.sources is None else Stored(data.sources, most)
    return dataclasses.replace(data, values=Stored(data.values, most), sources=sources, columns=columns)
