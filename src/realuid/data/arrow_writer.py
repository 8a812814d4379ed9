"""Writing data as a folder of Arrow files, which `load_dataset` and the `datasets` library read by row."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from realuid.data.arrow import ABOUT, STATE
from realuid.data.dataset import Dataset
from realuid.data.files import open_files
from realuid.data.hugging_face import library
from realuid.data.images import Reading, decode_each
from realuid.data.labels import labels_of
from realuid.data.pairs import holds_pairs
from realuid.errors import ConfigError, DataError
from realuid.files import atomic_folder

if TYPE_CHECKING:
    import pyarrow as pa

#: Rows of a record batch.
_ROWS = 1000
_FILE = "data-00000-of-00001.arrow"


def write_arrow(data: Dataset, out: str | Path) -> None:
    """Write a data set to a new folder, a thousand rows at a time.

    Args:
        data: all of its columns are written: images as 'image', latents as 'latent', points as 'point', labels as
            'label', sources of pairs as 'source', and further columns under their names.
        out: a folder; `load_dataset(out)` reads it, and so does `datasets.load_from_disk(out)`.

    Raises:
        ConfigError: where `out` is there already.
        DataError: without the extra `realuid[data]`, or where a further column has a name of those above.
    """
    if taken := {"image", "latent", "point", "label", "source"} & set(data.columns):
        raise DataError(f"a column of '{data.name}' is called {taken.pop()!r}, which has a meaning here. Rename it.")
    batches = (_named(data, slice(start, start + _ROWS)) for start in range(0, len(data), _ROWS))
    about = {"degradation": data.degradation, "degradation_seed": data.degradation_seed}
    _write(batches, Path(out), data.classes, {"name": data.name, **about})


def write_arrow_from_files(source: str, out: str | Path, how: Reading) -> bool:
    """Write the images of a folder, a zip or a tar as `write_arrow` does, without having all of them in memory.

    Args:
        source: with class labels as `load_dataset` finds them.
        out: a new folder.
        how: channels, resolution and damaged images.

    Returns:
        whether it was done; False where the files are pairs.

    Raises:
        ConfigError, DataError: as `write_arrow` and `load_dataset` do.
    """
    files = open_files(source)
    if holds_pairs(files):
        return False
    found = labels_of(files)
    label_of: dict[str, int] = {}
    if found is not None:
        files = dataclasses.replace(files, entries={name: files.entries[name] for name in found.names})
        label_of = dict(zip(found.names, found.labels.tolist(), strict=True))

    def batches() -> Iterator[dict[str, np.ndarray]]:
        shape, images, labels = None, [], []
        for name, pixels in decode_each(files, how):
            if pixels.shape != (shape := shape or pixels.shape):
                raise DataError(
                    f"images of '{source}' differ: '{name}' is {pixels.shape[1]}x{pixels.shape[0]} with "
                    f"{pixels.shape[2]} channel(s), the first one {shape[1]}x{shape[0]} with {shape[2]}. Pass "
                    "--resolution and --channels."
                )
            images.append(pixels.transpose(2, 0, 1))
            labels += [label_of[name]] if label_of else []
            if len(images) == _ROWS:
                yield {"image": np.stack(images)} | ({"label": np.array(labels)} if label_of else {})
                images, labels = [], []
        if images:
            yield {"image": np.stack(images)} | ({"label": np.array(labels)} if label_of else {})

    name = Path(files.source).stem or files.source
    _write(batches(), Path(out), () if found is None else found.classes, {"name": name})
    return True


def _named(data: Dataset, rows: slice) -> dict[str, np.ndarray]:
    batch = data.take(rows)
    values = "image" if data.is_image else "latent" if len(data.shape) == 3 else "point"
    named = {values: batch.values, "label": batch.labels, "source": batch.sources, **batch.columns}
    return {name: column.numpy() for name, column in named.items() if column is not None}


def _write(
    batches: Iterable[dict[str, np.ndarray]], out: Path, classes: tuple[str, ...], about: dict[str, Any]
) -> None:
    datasets = library(str(out))
    import pyarrow as pa

    if out.exists():
        raise ConfigError(f"'{out}' is there already. Pass a new folder.")
    batches = iter(batches)
    first = next(batches, None)
    if first is None:
        raise DataError("there are no samples to write.")
    features = datasets.Features({name: _feature(column, name, classes) for name, column in first.items()})
    digest = hashlib.sha256(json.dumps(features.to_dict()).encode())
    with atomic_folder(out) as folder:
        with pa.ipc.new_stream(str(folder / _FILE), features.arrow_schema) as file:
            for batch in chain([first], batches):
                kinds = features.arrow_schema.types
                columns = [_nested(column, kind) for column, kind in zip(batch.values(), kinds, strict=True)]
                file.write_batch(pa.RecordBatch.from_arrays(columns, schema=features.arrow_schema))
                for column in batch.values():
                    digest.update(np.ascontiguousarray(column).data)
        # what `save_to_disk` would write; its fingerprint is that of the content
        state = {"_data_files": [{"filename": _FILE}], "_fingerprint": digest.hexdigest()[:16], "_split": None}
        formats: dict[str, Any] = {
            "_format_columns": None,
            "_format_kwargs": {},
            "_format_type": None,
            "_output_all_columns": False,
        }
        (folder / STATE).write_text(json.dumps(state | formats, indent=2))
        datasets.DatasetInfo(features=features).write_to_directory(str(folder))
        (folder / ABOUT).write_text(json.dumps({"values": next(iter(first)), **about}, indent=2))


def _feature(column: np.ndarray, name: str, classes: tuple[str, ...]) -> Any:
    """The feature of `datasets` for a column."""
    datasets, (_, *shape) = library(name), column.shape
    if name == "label" and classes:
        return datasets.ClassLabel(names=list(classes))
    if len(shape) < 2:
        value = datasets.Value(str(column.dtype))
        return datasets.Sequence(value, length=shape[0]) if shape else value
    kinds = {2: datasets.Array2D, 3: datasets.Array3D, 4: datasets.Array4D, 5: datasets.Array5D}
    return kinds[len(shape)](tuple(shape), str(column.dtype))


def _nested(column: np.ndarray, kind: pa.DataType) -> pa.Array:
    """An array of Arrow, lists in lists, from one of numpy."""
    import pyarrow as pa

    flat = pa.array(np.ascontiguousarray(column).reshape(-1))
    if pa.types.is_fixed_size_list(kind):
        return pa.FixedSizeListArray.from_arrays(flat, type=kind)
    for size in reversed(column.shape[1:]):
        flat = pa.ListArray.from_arrays(np.arange(0, len(flat) + 1, size, dtype=np.int32), flat)
    return flat if column.ndim == 1 else pa.ExtensionArray.from_storage(kind, flat)
