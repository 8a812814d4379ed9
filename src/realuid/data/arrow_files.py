"""Memory-mapped Arrow files by record batch, and their bytes by position.

Rows are read with `pread`, not through the mapping: page faults load up to megabytes around every row, so the whole
file would become resident in this process. What was read through the mapping is given back.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from realuid.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

#: Record batches that are read through a mapping before its pages are given back.
_HELD = 16


def check_offsets(path: Path) -> None:
    """Raise what pyarrow raises of nearly any type where the offsets in a file lead out of it; numbers are not read."""
    import pyarrow as pa

    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        for number, batch in enumerate(pa.ipc.open_stream(pa.py_buffer(mapped)), 1):
            batch.validate(full=True)
            if number % _HELD == 0:
                _released(mapped)


def _released(mapped: mmap.mmap) -> None:
    """Give back the pages of a mapping that are resident, where the operating system can; they stay in its cache."""
    if hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


class ArrowFiles:
    """The record batches of Arrow files, one after the other, and their bytes by position.

    Args:
        paths: files in Arrow's stream format, as `datasets` writes them.
    """

    def __init__(self, paths: Sequence[str | Path]):
        import pyarrow as pa

        self.batches: list[pa.RecordBatch] = []
        self._mapped: list[mmap.mmap] = []
        self._places: list[tuple[BinaryIO, int, int]] = []  # of batches: their file, where it is mapped, its size
        for path in paths:
            file = Path(path).open("rb")  # noqa: SIM115 (as long as there are columns of it)
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            batches = [batch for batch in pa.ipc.open_stream(pa.py_buffer(mapped)) if len(batch)]
            self._mapped.append(mapped)
            self.batches += batches
            self._places += [(file, np.frombuffer(mapped, np.uint8).ctypes.data, len(mapped))] * len(batches)
        self.starts = np.cumsum([0, *map(len, self.batches)])

    def __len__(self) -> int:
        return int(self.starts[-1])

    def release(self) -> None:
        """Give back what was read through the mapping, after columns were made."""
        for mapped in self._mapped:
            _released(mapped)

    def find(self, rows: np.ndarray) -> list[tuple[int, int]]:
        """The batch that every row is in, and its place there.

        Raises:
            IndexError: for rows that do not exist.
        """
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(self):
            raise IndexError(f"rows {rows.min()} to {rows.max()} of {len(self)}")
        batch = np.searchsorted(self.starts, rows, side="right") - 1
        return list(zip(batch.tolist(), (rows - self.starts[batch]).tolist(), strict=True))

    def column(self, name: str) -> pa.ChunkedArray:
        """A column of text or numbers in memory, an own copy."""
        import pyarrow as pa

        def copy(batch: int, buffer: pa.Buffer | None) -> pa.Buffer | None:
            if not buffer:  # without one, or of no bytes
                return buffer
            place = self.position(batch, buffer.address, f"column '{name}'")
            return pa.py_buffer(self.read(batch, place, buffer.size))

        parts = []
        for batch, array in enumerate(batch.column(name) for batch in self.batches):
            if array.type.num_fields or pa.types.is_dictionary(array.type):  # made of several arrays
                parts.append(array)
            else:
                buffers = [copy(batch, buffer) for buffer in array.buffers()]
                parts.append(pa.Array.from_buffers(array.type, len(array), buffers, array.null_count, array.offset))
        return pa.chunked_array(parts)

    def position(self, batch: int, address: int, what: str) -> int:
        """Where in its file something of a batch lies that Arrow has found at an address.

        Raises:
            DataError: where it is not as it lies in the file; `what` is for the message.
        """
        _, start, size = self._places[batch]
        if not start <= address <= start + size:
            raise DataError(f"{what} is compressed, which cannot be read by row. Write it again by `realuid prepare`.")
        return address - start

    def read(self, batch: int, position: int, size: int) -> bytes:
        """Bytes of the file that a batch is in."""
        file, _, _ = self._places[batch]
        content = os.pread(file.fileno(), size, position)
        if len(content) != size:
            raise DataError(f"'{file.name}' ends too early. Write it again.")
        return content
