"""Data sets on disk: folders of Arrow files written by `datasets` or `realuid prepare`, read by row."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from realuid.data.arrow_columns import ArrayColumn, ArrowFiles, ImageColumn, RaggedColumn
from realuid.data.captions import caption_column
from realuid.data.columns import Column, Rows
from realuid.data.dataset import Dataset, Origin, Prompts
from realuid.data.hugging_face import ask, choose, labelled, load_saved
from realuid.data.images import Reading
from realuid.errors import DataError
from realuid.reading import read_json

#: What `save_to_disk` leaves in the folder of a data set, and of a set of splits.
STATE, SPLITS = "state.json", "dataset_dict.json"
#: What realuid says of data that it wrote, beside the files of `datasets`; the folder of the embeddings of distinct
#: prompts, whose rows the column 'prompt' numbers; and the unconditional embeddings.
ABOUT, PROMPTS, NULLS = "realuid.json", "prompts", "nulls.safetensors"
_ORIGINS = ("text_from", "latents_from")
_ABOUT = {"values": str, "name": str, "degradation": str, "degradation_seed": int, "listed": int}
_ABOUT |= dict.fromkeys(_ORIGINS, list)
_KINDS = {str: "text", int: "a whole number", list: "a list of two texts"}


def is_arrow(source: str) -> bool:
    """Whether a folder was written by `save_to_disk` or `realuid prepare`; '?image=...&label=...' may stand behind."""
    place = Path(source.partition("?")[0])
    return (place / STATE).is_file() or (place / SPLITS).is_file()


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
    table, about = _open(place)
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
        captions=table.data.column(text).to_pylist() if text else (),
        text_from=Origin(*about.get("text_from", ())),
        latents_from=Origin(*about.get("latents_from", ())),
    )
    if (Path(place) / PROMPTS).is_dir():
        data = _with_prompts(data, Path(place) / PROMPTS, table, about.get("listed", 0))
    if (Path(place) / NULLS).is_file():
        data = dataclasses.replace(data, nulls=_nulls(Path(place) / NULLS))
    if label is None:
        return data
    numbers, classes = labelled(table.data.column(label).to_pylist(), table.features[label], source)
    return dataclasses.replace(data, labels=numbers, classes=classes)


def _nulls(path: Path) -> dict[str, torch.Tensor]:
    try:
        return load_file(path)
    except Exception as error:  # damage surfaces as SafetensorError, ValueError, OSError, ...
        raise DataError(f"'{path}' cannot be read ({error}). Write it again.") from error


def _with_prompts(data: Dataset, folder: Path, samples: Any, listed: int) -> Dataset:
    """The data with the embeddings of its prompts.

    Args:
        data: with captions.
        folder: of the embeddings of distinct prompts.
        samples: the table of the samples, with the number of each one's prompt.
        listed: how many, from the first on, are for generated samples.
    """
    table, _ = _open(str(folder))
    rows = samples.data.column("prompt").to_numpy() if "prompt" in samples.features else np.array([len(table)])
    if not 0 <= listed <= len(table) or not 0 <= rows.min() <= rows.max() < len(table):
        raise DataError(f"the samples of '{folder.parent}' name prompts that '{folder}' does not hold. Write it again.")
    files, shapes = ArrowFiles([file["filename"] for file in table.cache_files]), _shapes(table.features)
    what, found = (str(folder), table._fingerprint), dict[str, Column]()
    for name in table.features:
        if name in shapes:
            found[name] = ArrayColumn(files, name, shapes[name], *what)
        elif name != "caption":
            found[name] = RaggedColumn(files, name, *what)
    index = torch.from_numpy(rows.astype(np.int64))
    data = dataclasses.replace(data, columns={**data.columns, **{k: Rows(v, index) for k, v in found.items()}})
    if not listed:
        return data
    prompts = table.data.column("caption").slice(0, listed).to_pylist()
    first = {name: Rows(column, slice(0, listed)) for name, column in found.items()}
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
