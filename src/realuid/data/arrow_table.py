"""An Arrow file that grows batch by batch and, after a kill, goes on from the last one, in the layout of `datasets`."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from realuid.data.arrow import ABOUT, STATE
from realuid.data.hugging_face import library
from realuid.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

_FILE, _PROGRESS = "data-00000-of-00001.arrow", "progress.json"
#: What ends a stream of Arrow.
_END = b"\xff\xff\xff\xff\0\0\0\0"


@dataclass(frozen=True)
class Ragged:
    """Sequences of different lengths, one after the other.

    Attributes:
        values: shape (all lengths together, *shape of one element).
        lengths: of the sequences, int64, shape (n,).
    """

    values: np.ndarray
    lengths: np.ndarray

    def __len__(self) -> int:
        return len(self.lengths)


#: A column of a batch: arrays of one shape, sequences of several lengths, or text.
Column: TypeAlias = "np.ndarray | Ragged | Sequence[str | None]"


class TornError(DataError):
    """A file that holds other rows than were written to it, so that nothing can be added."""


class Table:
    """A folder with one Arrow file, which is complete after `finish`.

    Every batch is on the disk, and is counted, before the next one is taken. What a killed process has written beyond
    the last batch is dropped.

    Args:
        folder: new, or left behind by a process that was killed.

    Raises:
        TornError: where rows that were counted are no longer there.

    Attributes:
        position: as of the last batch, 0 at the start: where its writer goes on.
        rows: number of rows so far.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        folder.mkdir(exist_ok=True)
        self.position = self.rows = self._bytes = 0
        self._features: Any = None
        self._digest = hashlib.sha256()
        if (folder / _PROGRESS).is_file():
            self._go_on(json.loads((folder / _PROGRESS).read_text()))
        else:
            (folder / _FILE).unlink(missing_ok=True)

    def write(self, columns: Mapping[str, Column], position: int, classes: tuple[str, ...] = ()) -> None:
        """Add a batch; the first one determines kinds and shapes of the columns, `classes` the names of its labels."""
        import pyarrow as pa

        message = b""
        if self._features is None:
            datasets = library(str(self._folder))
            self._begin(datasets.Features({name: _feature(column, name, classes) for name, column in columns.items()}))
            message = self._schema.serialize().to_pybytes()
        schema = self._schema
        arrays = [_array(columns[field.name], field.type) for field in schema]
        batch = pa.RecordBatch.from_arrays(arrays, schema=schema)
        self._append(message + batch.serialize().to_pybytes())
        self._add(batch)
        self.position, self.rows = position, self.rows + len(batch)
        self._note()

    def finish(self, about: Mapping[str, Any] | None = None) -> str:
        """Complete the folder; `about` is what realuid says of it. Returns the fingerprint of the content.

        Raises:
            DataError: where there are no rows.
            TornError: where they are not those that were written.
        """
        if not self.rows:
            raise DataError("there are no samples to write.")
        self._append(_END)
        self._check(sum(map(len, self._batches())))
        # what `save_to_disk` would write; its fingerprint is that of the content
        state = {"_data_files": [{"filename": _FILE}], "_fingerprint": self._digest.hexdigest()[:16], "_split": None}
        formats: dict[str, Any] = {
            "_format_columns": None,
            "_format_kwargs": {},
            "_format_type": None,
            "_output_all_columns": False,
        }
        library(str(self._folder)).DatasetInfo(features=self._features).write_to_directory(str(self._folder))
        if about is not None:
            (self._folder / ABOUT).write_text(json.dumps(about, indent=2))
        (self._folder / STATE).write_text(json.dumps(state | formats, indent=2))
        (self._folder / _PROGRESS).unlink()
        return str(state["_fingerprint"])

    @staticmethod
    def is_finished(folder: Path) -> bool:
        """Whether `finish` was called of the table in a folder."""
        return (folder / STATE).is_file() and not (folder / _PROGRESS).is_file()

    @staticmethod
    def holds_rows(folder: Path) -> bool:
        """Whether there are rows to go on from, or a finished table, in a folder or in those inside."""
        return any(file.name in (STATE, _PROGRESS) for file in folder.rglob("*.json"))

    @property
    def _schema(self) -> pa.Schema:
        return self._features.arrow_schema

    def _begin(self, features: Any) -> None:
        self._features = features
        self._digest = hashlib.sha256(json.dumps(features.to_dict()).encode())

    def _go_on(self, progress: dict[str, Any]) -> None:
        datasets = library(str(self._folder))  # before the file is opened: it registers the kinds of its columns

        self.position, self.rows, self._bytes = progress["position"], progress["rows"], progress["bytes"]
        file, found = self._folder / _FILE, 0
        if file.is_file() and file.stat().st_size > self._bytes:
            os.truncate(file, self._bytes)
        for batch in self._batches():
            if self._features is None:
                self._begin(datasets.Features.from_arrow_schema(batch.schema))
            self._add(batch)
            found += len(batch)
        self._check(found, progress.get("digest", ""))

    def _batches(self) -> Iterator[pa.RecordBatch]:
        """What can be read of the file, up to its end or to damage."""
        import pyarrow as pa

        with contextlib.suppress(OSError, pa.ArrowInvalid), pa.memory_map(str(self._folder / _FILE)) as file:
            yield from pa.ipc.open_stream(file)

    def _check(self, found: int, digest: str = "") -> None:
        if found != self.rows or digest not in ("", self._digest.hexdigest()):
            raise TornError(
                f"'{self._folder / _FILE}' has changed since it was written: {found} of {self.rows} rows can be read. "
                f"Delete '{self._folder}', and give the same command again."
            )

    def _append(self, content: bytes) -> None:
        with (self._folder / _FILE).open("ab") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        self._bytes += len(content)

    def _note(self) -> None:
        progress: dict[str, int | str] = {"position": self.position, "rows": self.rows, "bytes": self._bytes}
        progress["digest"] = self._digest.hexdigest()
        temporary = self._folder / f"{_PROGRESS}.tmp"
        with temporary.open("w") as file:
            json.dump(progress, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._folder / _PROGRESS)

    def _add(self, batch: pa.RecordBatch) -> None:
        for column in batch.columns:
            for part in _content(column):
                self._digest.update(part)


def storable(tensor: Tensor) -> np.ndarray:
    """A tensor as an array; bfloat16, which numpy does not have, as float16.

    Raises:
        DataError: for numbers that float16 does not hold.
    """
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.half()
        if not tensor.isfinite().all():
            raise DataError("embeddings in bfloat16 hold numbers beyond float16. Load the encoder in float32.")
    return tensor.detach().cpu().numpy()


def _feature(column: Column, name: str, classes: tuple[str, ...]) -> Any:
    """The feature of `datasets` for a column."""
    datasets = library(name)
    if isinstance(column, Ragged):
        element = datasets.Value(str(column.values.dtype))
        return datasets.Sequence(_sequence(element, column.values.shape[1:]))
    if not isinstance(column, np.ndarray):
        return datasets.Value("string")
    shape = column.shape[1:]
    if name == "label" and classes:
        return datasets.ClassLabel(names=list(classes))
    if len(shape) < 2:
        return _sequence(datasets.Value(str(column.dtype)), shape)
    kinds = {2: datasets.Array2D, 3: datasets.Array3D, 4: datasets.Array4D, 5: datasets.Array5D}
    return kinds[len(shape)](tuple(shape), str(column.dtype))


def _sequence(value: Any, shape: tuple[int, ...]) -> Any:
    return library("data").Sequence(value, length=shape[0]) if shape else value


def _array(column: Column, kind: pa.DataType) -> pa.Array:
    """An array of Arrow, lists in lists, from a column."""
    import pyarrow as pa

    if isinstance(column, Ragged):
        offsets = np.concatenate([[0], np.cumsum(column.lengths)]).astype(np.int32)
        return pa.ListArray.from_arrays(offsets, _array(column.values, kind.value_type))
    if not isinstance(column, np.ndarray):
        return pa.array(column, kind)
    flat = pa.array(np.ascontiguousarray(column).reshape(-1))
    if pa.types.is_fixed_size_list(kind):
        return pa.FixedSizeListArray.from_arrays(flat, type=kind)
    for size in reversed(column.shape[1:]):
        flat = pa.ListArray.from_arrays(np.arange(0, len(flat) + 1, size, dtype=np.int32), flat)
    return flat if column.ndim == 1 else pa.ExtensionArray.from_storage(kind, flat)


def _content(array: pa.Array) -> list[bytes | memoryview]:
    """What a fingerprint is made of: the numbers of a column, with lengths where they differ, or its text."""
    import pyarrow as pa

    parts: list[bytes | memoryview] = []
    flat = array.storage if isinstance(array, pa.ExtensionArray) else array
    if pa.types.is_string(flat.type):
        return [json.dumps(flat.to_pylist()).encode()]
    if pa.types.is_list(flat.type) and not isinstance(array, pa.ExtensionArray):
        parts.append(np.diff(flat.offsets.to_numpy()).tobytes())
    while not pa.types.is_primitive(flat.type):
        flat = flat.flatten()
    return [*parts, np.ascontiguousarray(flat.to_numpy(zero_copy_only=False)).data]
