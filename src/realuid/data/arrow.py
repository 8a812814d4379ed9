"""Data sets on disk: folders of Arrow files written by `datasets` or `realuid prepare`, read by row."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from realuid.data.arrow_columns import ArrayColumn, ImageColumn, RaggedColumn
from realuid.data.arrow_files import ArrowFiles
from realuid.data.captions import caption_column
from realuid.data.columns import Column, Rows
from realuid.data.dataset import Dataset, Origin, Prompts
from realuid.data.hugging_face import ask, choose, labelled, load_saved
from realuid.data.images import Reading
from realuid.errors import CheckpointError, DataError
from realuid.reading import read_json

#: What `save_to_disk` leaves in the folder of a data set, and of a set of splits.
STATE, SPLITS = "state.json", "dataset_dict.json"
#: What realuid says of data that it wrote, beside the files of `datasets`; the folder of the embeddings of distinct
#: prompts, whose rows the column 'prompt' numbers; and the unconditional embeddings.
ABOUT, PROMPTS, NULLS = "realuid.json", "prompts", "nulls.safetensors"
#: Names of the folders of data in several sizes, which share prompts and nulls; the most frequent size is the first.
SIZES = "sizes.json"
_ORIGINS = ("text_from", "latents_from")
_ABOUT = {"values": str, "name": str, "degradation": str, "degradation_seed": int, "listed": int}
_ABOUT |= dict.fromkeys(_ORIGINS, list)
_SIZE = re.compile(r"[1-9][0-9]*x[1-9][0-9]*")
_KINDS = {str: "text", int: "a whole number", list: "a list of two texts"}


def is_arrow(source: str) -> bool:
    """Whether a folder was written by `save_to_disk` or `realuid prepare`; '?image=...&label=...' may stand behind."""
    place = Path(source.partition("?")[0])
    return any((place / name).is_file() for name in (STATE, SPLITS, SIZES))


def load_arrow(source: str, how: Reading) -> Dataset:
    """A data set on disk: images as they are asked for, labels in memory.

    Args:
        source: a folder, perhaps with '?image=COLUMN&label=COLUMN&text=COLUMN' behind it. Images are a column of
            encoded images, or of arrays (c, h, w), uint8 or float32 in data units; a column 'source' beside them makes
            pairs. Further columns of numbers, all of one shape, are conditions.
        how: channels and resolution of encoded images.

    Raises:
        DataError: for splits, columns that are missing or cannot be read, and `how.skip_damaged`.
    """
    place, asked = ask(source, source)
    if (Path(place) / SPLITS).is_file():
        names = sorted(p.parent.name for p in Path(place).glob(f"*/{STATE}")) or ["train"]
        raise DataError(f"'{place}' holds {', '.join(names)}. Pass one of them, as '{Path(place) / names[0]}'.")
    if how.skip_damaged:
        raise DataError(
            f"skip_damaged = True: images of '{place}' are read when they are asked for. Leave it out, or write the "
            "data again by `realuid prepare --skip-damaged`."
        )
    home = Path(place)
    embedded = _Embedded(home / PROMPTS) if (home / PROMPTS).is_dir() else None
    nulls = _nulls(home / NULLS) if (home / NULLS).is_file() else {}
    tables = [(str(folder), *_open(str(folder))) for folder in _folders(home)]
    parts = [_read(*opened, asked, source, how) for opened in tables]
    if embedded is not None:
        parts = [embedded.beside(part, *table) for part, (_, *table) in zip(parts, tables, strict=True)]
    first, *others = [dataclasses.replace(part, nulls=nulls) for part in parts]
    if any((set(other.columns), other.classes) != (set(first.columns), first.classes) for other in others):
        raise DataError(f"the sizes of '{place}' differ in columns or classes. Write it again.")
    return first._with(others=tuple(others))


def _folders(home: Path) -> list[Path]:
    """The folders of all sizes; without sizes the folder itself."""
    if not (home / SIZES).is_file():
        return [home]
    try:
        names = read_json(home / SIZES).get("sizes")
    except CheckpointError as error:
        raise DataError(str(error)) from error
    if not isinstance(names, list) or not names or not all(isinstance(n, str) and _SIZE.fullmatch(n) for n in names):
        raise DataError(f"'{home / SIZES}' names no folders of sizes such as 512x768. Write it again.")
    return [home / name for name in names]


def _read(place: str, table: Any, about: dict[str, Any], asked: dict[str, str], source: str, how: Reading) -> Dataset:
    """The data of one folder, without embeddings of prompts; what `_open` returned and `load_arrow` was passed."""
    files, shapes = ArrowFiles([file["filename"] for file in table.cache_files]), _shapes(table.features)
    if not len(files):
        raise DataError(f"'{place}' holds no rows.")
    pictures = [about["values"]] if about else _pictures(table.features, shapes)
    alone = [name for name in pictures if name != "source" or asked.get("image") == "source"] or pictures
    values, label = choose(table.features, alone, asked, source)

    def column(name: str) -> Column:
        if name in shapes:
            return ArrayColumn(files, name, shapes[name], place, table._fingerprint)
        return ImageColumn(files, name, how, place, table._fingerprint)

    text = caption_column(table.features, asked, source)
    paired = values != "source" and "source" in {*shapes, *pictures}
    further = [name for name in shapes if name not in (values, label, "source")]
    data = Dataset(
        column(values),
        name=about.get("name", Path(place).name),
        sources=column("source") if paired else None,
        degradation=about.get("degradation", ""),
        degradation_seed=about.get("degradation_seed", 0),
        columns={name: column(name) for name in further},
        captions=files.column(text).to_pylist() if text else (),
        text_from=Origin(*about.get("text_from", ())),
        latents_from=Origin(*about.get("latents_from", ())),
    )
    files.release()
    if label is None:
        return data
    numbers, classes = labelled(files.column(label).to_pylist(), table.features[label], source)
    return dataclasses.replace(data, labels=numbers, classes=classes)


def _nulls(path: Path) -> dict[str, torch.Tensor]:
    try:
        return load_file(path)
    except Exception as error:  # damage surfaces as SafetensorError, ValueError, OSError, ...
        raise DataError(f"'{path}' cannot be read ({error}). Write it again.") from error


class _Embedded:
    """The embeddings of distinct prompts.

    Args:
        folder: of their table.
    """

    def __init__(self, folder: Path):
        self._folder, (self._table, _) = folder, _open(str(folder))
        files = ArrowFiles([file["filename"] for file in self._table.cache_files])
        shapes, what = _shapes(self._table.features), (str(folder), self._table._fingerprint)
        self._columns = dict[str, Column]()
        for name in self._table.features:
            if name in shapes:
                self._columns[name] = ArrayColumn(files, name, shapes[name], *what)
            elif name != "caption":
                self._columns[name] = RaggedColumn(files, name, *what)
        files.release()

    def beside(self, data: Dataset, table: Any, about: dict[str, Any]) -> Dataset:
        """The data with the embeddings of its prompts.

        Args:
            data: with captions.
            table: of its samples, with the number of each one's prompt.
            about: says how many prompts, from the first on, are for generated samples.
        """
        count, listed = len(self._table), about.get("listed", 0)
        files = ArrowFiles([file["filename"] for file in table.cache_files])
        rows = files.column("prompt").to_numpy() if "prompt" in table.features else np.array([count])
        if not 0 <= listed <= count or not 0 <= rows.min() <= rows.max() < count:
            raise DataError(
                f"the samples of '{self._folder.parent}' name prompts that '{self._folder}' does not hold. "
                "Write it again."
            )
        index = torch.from_numpy(rows.astype(np.int64))
        columns = {name: Rows(column, index) for name, column in self._columns.items()}
        data = dataclasses.replace(data, columns={**data.columns, **columns})
        if not listed:
            return data
        prompts = self._table.data.column("caption").slice(0, listed).to_pylist()
        first = {name: Rows(column, slice(0, listed)) for name, column in self._columns.items()}
        return dataclasses.replace(data, prompts=Prompts(first, prompts, data.name))


def _open(place: str) -> tuple[Any, dict[str, Any]]:
    """The table, and what realuid wrote beside it."""
    try:
        table, path = load_saved(Path(place)), Path(place) / ABOUT
        about = read_json(path) if path.is_file() else {}
    except DataError:
        raise
    except Exception as error:  # damaged files raise nearly every type
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise DataError(f"'{place}' cannot be read ({reason}). Write it again.") from error
    for key, kind in _ABOUT.items():
        value, columns = about.get(key), ", ".join(table.features)
        if about and type(value) is not kind and (key == "values" or value is not None):
            raise DataError(f"'{path}': {key} = {value!r:.100}, allowed is {_KINDS[kind]}. Write it again.")
        if key in _ORIGINS and value and [type(part) for part in value] != [str, str]:
            raise DataError(f"'{path}': {key} = {value!r:.100}, allowed is {_KINDS[kind]}. Write it again.")
        if about and key == "values" and value not in table.features:
            raise DataError(f"'{path}': values = '{value}', which is none of the columns {columns}. Write it again.")
    return table, about


def _shapes(features: Any) -> dict[str, tuple[int, ...]]:
    """Columns of numbers that have one shape: name -> shape of a row."""
    found = {}
    for name, kind in features.items():
        shape = getattr(kind, "shape", None)
        if not isinstance(shape, tuple) and getattr(getattr(kind, "feature", None), "dtype", "string") != "string":
            shape = (getattr(kind, "length", -1),)
        if isinstance(shape, tuple) and all(type(size) is int and size > 0 for size in shape):
            found[name] = shape
    return found


def _pictures(features: Any, shapes: dict[str, tuple[int, ...]]) -> list[str]:
    """Columns that may be images, encoded ones first, and latents last."""
    encoded = [name for name, kind in features.items() if type(kind).__name__ == "Image"]
    arrays = [
        name for name, shape in shapes.items() if len(shape) == 3 and features[name].dtype in ("uint8", "float32")
    ]
    return [*encoded, *sorted(arrays, key=lambda name: features[name].dtype, reverse=True)]
