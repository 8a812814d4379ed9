"""Writing data as a folder of Arrow files, which `load_dataset` and the `datasets` library read by row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from realuid.data.arrow import NULLS, PROMPTS, SIZES
from realuid.data.arrow_table import Column as Written
from realuid.data.arrow_table import Ragged, Table, storable
from realuid.data.captions import complete
from realuid.data.columns import Column
from realuid.data.dataset import NOWHERE, Dataset, Origin
from realuid.errors import ConfigError, DataError
from realuid.files import atomic_folder, write_json

#: Rows of a record batch, and bytes of its pixels, at most; prompts of one.
_ROWS, _BYTES, _PROMPTS = 1000, 64 * 2**20, 512
#: Names of columns that mean something.
_MEANINGS = ("image", "latent", "point", "label", "source", "prompt", "caption")

#: Called as progress(what, done, total).
Progress: TypeAlias = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Encoding:
    """What is computed of data while it is written: latents of every image, and embeddings of every distinct prompt.

    Attributes:
        latents: of uint8 images, shape (b, c, h, w), given the number of the first one, which determines noise;
            float32.
        latents_from: the autoencoder.
        prompts: embeddings by name, one row for each prompt.
        prompts_from: the encoder of prompts.
        nulls: the unconditional embeddings by name, one row.
        listed: prompts without images, for generated samples.
    """

    latents: Callable[[Tensor, int], Tensor] | None = None
    latents_from: Origin = NOWHERE
    prompts: Callable[[Sequence[str]], Mapping[str, Tensor]] | None = None
    prompts_from: Origin = NOWHERE
    nulls: Mapping[str, Tensor] | None = None
    listed: Sequence[str] = ()


PLAIN = Encoding()


def write_arrow(data: Dataset, out: str | Path) -> None:
    """Write a data set to a new folder, a thousand rows at a time.

    Args:
        data: all of its columns are written: images as 'image', latents as 'latent', points as 'point', labels as
            'label', sources of pairs as 'source', captions as 'caption', and further columns under their names.
        out: a folder; `load_dataset(out)` reads it, and so does `datasets.load_from_disk(out)`. Data in several sizes
            has a folder of this kind for each inside.

    Raises:
        ConfigError: where `out` is there already.
        DataError: without the extra `realuid[data]`, or where a further column has a name of those above.
    """
    if Path(out).exists():
        raise ConfigError(f"'{out}' is there already. Pass a new folder.")
    with atomic_folder(Path(out)) as folder:
        write_into(folder, data)


def write_into(
    folder: Path, data: Dataset, encoding: Encoding = PLAIN, progress: Progress = lambda what, done, total: None
) -> None:
    """Write a data set to a folder, or go on where a killed process has stopped; errors as of `write_arrow`."""
    encoded = {*(encoding.nulls or ()), *(["latent"] if encoding.latents else [])}
    columns = [name for name in data.columns if name not in encoded]
    if taken := set(_MEANINGS) & set(columns) - ({"latent"} if data.is_image else set()):
        raise DataError(f"a column of '{data.name}' is called {taken.pop()!r}, which has a meaning here. Rename it.")
    if data.prompts is not None and not encoding.prompts:
        raise DataError(f"'{data.name}' holds prompts without samples. Name the prompt encoder, to embed them again.")
    values = "image" if data.is_image else "latent" if len(data.shape) == 3 else "point"
    about: dict[str, Any] = {"values": values, "name": data.name}
    about |= {"degradation": data.degradation, "degradation_seed": data.degradation_seed}
    latents_from = encoding.latents_from if encoding.latents else data.latents_from
    about |= {"latents_from": list(latents_from)} if latents_from.source else {}
    text_from, nulls, rows = data.text_from, dict(data.nulls), None
    if encoding.prompts:
        text_from, nulls = encoding.prompts_from, dict(encoding.nulls or {})
        said = [caption for part in data.sizes for caption in part.captions]
        captions = complete(said, data.name) if len(data) else []
        rows = _write_prompts(folder / PROMPTS, [*encoding.listed, *captions], encoding, progress)[
            len(encoding.listed) :
        ]
        about["listed"] = len(dict.fromkeys(encoding.listed))
    about |= {"text_from": list(text_from)} if text_from.source else {}
    if nulls:
        save_file({name: null.contiguous() for name, null in nulls.items()}, folder / NULLS)
        (folder / NULLS).chmod(folder.stat().st_mode & 0o666)  # safetensors writes 0600, whatever the umask
    first, names = 0, list[str]()
    for part in data.sizes:
        place, told, last = folder, progress, first + len(part)
        if data.others:
            names.append("x".join(map(str, part.shape[1:])))
            place, told = folder / names[-1], partial(_told_of, progress, names[-1])
        if not Table.is_finished(place):
            kept = part._with(columns={name: part.columns[name] for name in columns})
            some = None if rows is None else rows[first:last]
            _write_rows(Table(place), kept, values, encoding, some, told, about)
        first = last
    if data.others:
        write_json(folder / SIZES, {"sizes": names})


def _told_of(progress: Progress, size: str, what: str, done: int, total: int) -> None:
    progress(f"{what} of {size}", done, total)


def _write_rows(
    table: Table,
    data: Dataset,
    values: str,
    encoding: Encoding,
    prompts: np.ndarray | None,
    progress: Progress,
    about: Mapping[str, Any],
) -> None:
    size = max(1, min(_ROWS, _BYTES // max(1, int(np.prod(data.shape)) * data.values.dtype.itemsize)))
    read = [column for column in (data.values, data.sources, *data.columns.values()) if column is not None]
    stored = [column for column in read if isinstance(column, Column)]
    for start in range(table.position, len(data), size):
        progress("samples", start, len(data))
        rows = slice(start, min(start + size, len(data)))
        following = torch.arange(rows.stop, min(rows.stop + size, len(data)))
        batch = data.take(rows)
        data.prefetch(stored, [following] if len(following) else [])
        found: dict[str, Any] = {values: batch.values, "label": batch.labels, "source": batch.sources, **batch.columns}
        if encoding.latents is not None:
            found["latent"] = encoding.latents(batch.values, start)
        named: dict[str, Written] = {name: _plain(value) for name, value in found.items() if value is not None}
        if data.captions:
            named["caption"] = list(data.captions[rows])
        if prompts is not None:
            named["prompt"] = prompts[rows]
        index = torch.arange(rows.start, rows.stop)
        left_out = torch.stack([column.unreadable(index) for column in stored]).any(0) if stored else index < 0
        if left_out.any():
            named = {name: _without(column, left_out.numpy()) for name, column in named.items()}
        if not left_out.all():
            table.write(named, rows.stop, data.classes)
    progress("samples", len(data), len(data))
    for column in stored:
        column.say_what_was_read()
    table.finish(about)


def _write_prompts(folder: Path, prompts: Sequence[str], encoding: Encoding, progress: Progress) -> np.ndarray:
    """Write the embeddings of the distinct prompts, and return which of them every prompt is, int32."""
    number: dict[str, int] = {}
    rows = np.array([number.setdefault(prompt, len(number)) for prompt in prompts], np.int32)
    names = list(number)
    if Table.is_finished(folder):
        return rows
    table = Table(folder)
    assert encoding.prompts is not None
    for start in range(table.position, len(names), _PROMPTS):
        progress("prompts", start, len(names))
        some = names[start : start + _PROMPTS]
        table.write({"caption": some, **_embedded(encoding.prompts(some))}, start + len(some))
    progress("prompts", len(names), len(names))
    table.finish()
    return rows


def _embedded(condition: Mapping[str, Tensor]) -> dict[str, Written]:
    """Embeddings as columns. What has a mask is stored up to the last token that is text."""
    found: dict[str, Written] = {}
    for name, value in condition.items():
        mask = condition.get(f"{name}_mask")
        if name.endswith("_mask"):
            value, mask = value.to(torch.uint8), value
        if mask is None:
            found[name] = storable(value)
        else:
            places = torch.arange(1, mask.shape[1] + 1)
            lengths = (mask * places).amax(dim=1).clamp(min=1)
            found[name] = Ragged(storable(value[places <= lengths[:, None]]), lengths.numpy())
    return found


def _plain(value: Tensor) -> np.ndarray:
    return storable(value.to(torch.uint8) if value.dtype == torch.bool else value)


def _without(column: Written, left_out: np.ndarray) -> Written:
    if isinstance(column, np.ndarray):
        return column[~left_out]
    assert not isinstance(column, Ragged)
    return [text for text, out in zip(column, left_out, strict=True) if not out]
