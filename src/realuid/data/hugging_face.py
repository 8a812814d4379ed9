"""Image data sets of Hugging Face, from the hub or from a folder."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import torch
from torch import Tensor

from realuid.data.arrow_files import check_offsets
from realuid.data.captions import caption_column
from realuid.data.dataset import Dataset
from realuid.data.decode import read_named
from realuid.data.files import Entry, Files, few
from realuid.data.images import Reading, decode_all
from realuid.errors import CheckpointError, DataError, DataWarning
from realuid.reading import check_regular, open_regular, parse_json, read_json

if TYPE_CHECKING:
    import datasets

#: More distinct values than this are no classes.
_CLASSES = 10_000
#: What `save_to_disk` leaves in a folder.
_STATE, _SPLITS = "state.json", "dataset_dict.json"
_SAVED = ("dataset_info.json", _SPLITS, _STATE)


def load_hugging_face(name: str, how: Reading) -> Dataset:
    """A Hugging Face image data set: its image column and, if there are such, its class column and its captions.

    Args:
        name: 'NAME' or 'NAME:SPLIT' of the hub, or a folder that `save_to_disk` wrote or that the hub's image loader
            reads. '?image=COLUMN&label=COLUMN&text=COLUMN' behind it says which columns; a label column may then hold
            whole numbers or text, too. Without, the first image column and the first one of classes are taken, and it
            is said where there are others; and captions from a column of text called text, caption or prompt.
        how: channels, resolution and damaged images.

    Raises:
        DataError: where it cannot be loaded, or has no such columns.
    """
    place, asked = ask(name, f"hf:{name}")
    table = _load(place, name)
    images = [key for key, kind in table.features.items() if type(kind).__name__ == "Image"]
    image, label = choose(table.features, images, asked, f"hf:{name}")
    unopened = library(f"hf:{name}").Image(decode=False)
    encoded = table.select_columns([image]).cast_column(image, unopened)  # others stay closed
    folders = _folders(place)
    entries = {str(i): Entry(0, _reader(encoded, image, i, folders)) for i in range(len(table))}
    if not entries:
        raise DataError(f"'hf:{name}' holds no images.")
    values, names = decode_all(Files(f"hf:{name}", entries), how)
    rows, text = [int(i) for i in names], caption_column(table.features, asked, f"hf:{name}")
    captions = table.data.column(text).take(rows).to_pylist() if text else ()
    data = Dataset(values, name=Path(place.partition(":")[0]).name, captions=captions)
    if label is None:
        return data
    raw = table.data.column(label).take(rows).to_pylist()
    labels, classes = labelled(raw, table.features[label], f"hf:{name}")
    return dataclasses.replace(data, labels=labels, classes=classes)


def ask(source: str, name: str) -> tuple[str, dict[str, str]]:
    """What stands before and behind a question mark: a place, and the columns that are asked for.

    Raises:
        DataError: where something else stands behind it; `name` is for the message.
    """
    place, _, query = source.partition("?")
    asked = {key: values[-1] for key, values in parse_qs(query).items()}
    if query and (not asked or set(asked) - {"image", "label", "text"}):
        raise DataError(
            f"'{name}': behind the question mark stand image=COLUMN, label=COLUMN and text=COLUMN, joined with &."
        )
    return place, asked


def library(name: str) -> Any:
    """The library `datasets`, or a DataError that says how to install it for the data of this name."""
    try:
        import datasets
    except ImportError as error:
        raise DataError(f"'{name}' needs the extra: pip install 'realuid[data]'.") from error
    return datasets


def _load(place: str, name: str) -> datasets.Dataset:
    datasets = library(f"hf:{name}")
    where, _, split = place.partition(":")
    try:
        if Path(where).is_dir() and not any((Path(where) / saved).exists() for saved in _SAVED):
            _check_lines(Path(where))
            return datasets.load_dataset("imagefolder", data_dir=where, split=split or "train")
        if Path(where).is_dir():
            splits = (Path(where) / _SPLITS).is_file()
            return load_saved(Path(where) / (split or "train") if splits else Path(where))
        return datasets.load_dataset(where, split=split or "train")
    except DataError:
        raise
    except Exception as error:  # the library raises many kinds, all about what was asked for
        reason = next(iter(str(error).splitlines()), "")
        raise DataError(f"'hf:{name}' cannot be loaded ({type(error).__name__}: {reason}).") from error


def load_saved(folder: Path) -> datasets.Dataset:
    """A data set that `save_to_disk` wrote, memory-mapped.

    Arrow's readers trust the offsets in a file: those that lead out of it would end the process when a row is read, so
    that all are compared with what is there. What images and numbers hold is not read.

    Raises:
        DataError: for files outside of the folder.
        Exception: of nearly any type, for other damage.
    """
    arrow, state = library(str(folder)), read_json(folder / _STATE)
    for name in (str(file["filename"]) for file in state["_data_files"]):
        if Path(name).name != name:
            raise DataError(f"'{folder / _STATE}' names the file {name!r:.100}, which is not in this folder.")
        check_regular(folder / name)
        check_offsets(folder / name)
    table: datasets.Dataset = arrow.load_from_disk(str(folder), keep_in_memory=False)
    return table


def _check_lines(folder: Path) -> None:
    """Raise DataError unless every line of the .jsonl files in a folder is a JSON object.

    The JSON reader of pyarrow (26.0) ends the process with a segmentation fault where a line is `null`.
    """
    for path in sorted(folder.rglob("*.jsonl")):
        try:
            with open_regular(path) as file:
                for number, line in enumerate(file, 1):
                    if line.strip():
                        parse_json(line, f"line {number} of '{path}'", finite=False)
        except CheckpointError as error:
            raise DataError(str(error)) from error


def _folders(place: str) -> list[Path]:
    """Where the files of a data set are: its folder, or what the hub's libraries download to."""
    where = Path(place.partition(":")[0])
    if where.is_dir():
        return [where]
    config = library(place).config
    return [Path(config.HF_DATASETS_CACHE), Path(config.HF_CACHE_HOME), Path(config.constants.HF_HUB_CACHE)]


def _reader(table: datasets.Dataset, column: str, index: int, folders: list[Path]) -> Callable[[], bytes]:
    def read() -> bytes:
        row = table[index][column]
        if row is None:
            raise ValueError("there is no image")
        return row["bytes"] or read_named(row["path"], folders)

    return read


def choose(features: Mapping[str, Any], images: list[str], asked: dict[str, str], name: str) -> tuple[str, str | None]:
    """The image column, of those that hold images, and the class column; others that could be meant are said.

    Raises:
        DataError: for columns that are not there.
    """
    labels = [key for key, kind in features.items() if type(kind).__name__ == "ClassLabel"]
    for key, column in asked.items():
        if column not in features:
            raise DataError(f"'{name}': no column {key} = {column}. Columns are {few(list(features), 20)}.")
    if not images or asked.get("image", images[0]) not in images:
        raise DataError(f"'{name}' has no image column (columns: {', '.join(features)}).")
    image, label = asked.get("image", images[0]), asked.get("label", next(iter(labels), None))
    choices = {"image": [k for k in images if k != image], "label": [k for k in labels if k != label]}
    if label is None:
        choices["label"] = [k for k, kind in features.items() if k == "label" or "class" in k.lower()]
    for key, others in choices.items():
        if others and key not in asked:
            taken = {"image": image, "label": label}[key]
            warnings.warn(
                f"'{name}': {key}s are read from {f'column {taken!r}' if taken else 'no column'}; there is also "
                f"{few(others)}, which '?{key}={others[0]}' behind the name takes.",
                DataWarning,
                stacklevel=4,
            )
    return image, label


def labelled(values: list[Any], kind: Any, name: str) -> tuple[Tensor, tuple[str, ...]]:
    """Classes, int64, and their names, from a column of classes, text or whole numbers.

    Raises:
        DataError: for other columns, missing labels, and more different ones than there can be classes.
    """
    missing = sum(value is None or value == -1 for value in values)
    if missing:
        raise DataError(
            f"'{name}' has {missing} of {len(values)} samples without a label. Take another split, as hf:NAME:SPLIT."
        )
    if type(kind).__name__ == "ClassLabel":
        return torch.tensor(values), tuple(kind.names)
    if not all(isinstance(value, str | int) for value in values):
        raise DataError(f"'{name}': label = {kind}, allowed are columns of classes, whole numbers or text.")
    distinct = sorted(set(values))
    if len(distinct) > _CLASSES:
        raise DataError(f"'{name}': {len(distinct)} different labels. More than {_CLASSES} are no classes.")
    number = {value: i for i, value in enumerate(distinct)}
    return torch.tensor([number[value] for value in values]), tuple(map(str, distinct))
