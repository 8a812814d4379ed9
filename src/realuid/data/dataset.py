"""Data as named columns with random access by index."""

from __future__ import annotations

import base64
import copy
import hashlib
import html
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from realuid.data.checks import check_values, checked_labels
from realuid.data.columns import Column, Values, content, moved, numbers, some_of
from realuid.data.grid import grid_image
from realuid.errors import DataError

#: Number of images, and of points, in the picture that a notebook shows.
_SHOWN, _POINTS = 16, 2000


@dataclass(frozen=True)
class Batch:
    """Samples of a data set, read, on the CPU: its columns as tensors."""

    values: Tensor
    labels: Tensor | None
    sources: Tensor | None
    columns: dict[str, Tensor]


class Origin(NamedTuple):
    """A model that a part of the data was computed by: where it is, and what names its content; '' if there is none."""

    source: str = ""
    fingerprint: str = ""


NOWHERE = Origin()


@dataclass(frozen=True)
class Prompts:
    """Embedded prompts without samples, which generated samples are conditioned on.

    Attributes:
        columns: embeddings by name, one row for each prompt.
        captions: the prompts.
        name: of the data that they belong to.
    """

    columns: Mapping[str, Values]
    captions: Sequence[str]
    name: str

    def __len__(self) -> int:
        return len(self.captions)

    def column(self, name: str) -> Values:
        """As of a `Dataset`."""
        if name not in self.columns:
            raise DataError(f"prompts of '{self.name}' have no column '{name}', which the model reads.")
        return self.columns[name]


@dataclass(frozen=True, repr=False)
class Dataset:
    """A data set: columns of one row per sample, read by index.

    A column is a tensor, in memory or on a device, or a `Column`, which reads rows when they are asked for. Nothing but
    the columns knows which: whoever uses data takes rows by index, and never a whole column that may not fit.

    Args:
        values: uint8 images, shape (n, c, h, w), or float32 in data units: points, shape (n, d), or latents, shape
            (n, c, h, w).
        labels: int64 classes, shape (n,), in memory, or None; other whole numbers become int64.
        name: for messages and reports.
        classes: class names; their number is the number of classes.
        sources: what each sample comes in a pair with (for instance its degraded image), like `values`, or None.
        degradation: how `sources` were made from `values`, a name in `realuid.data.DEGRADATIONS`; '' if unknown.
        degradation_seed: with which seed, where it draws at random.
        columns: further conditions by name, each with one row per sample, for networks that declare them: embeddings of
            captions are called 'text' (with 'text_mask') and 'pooled'.
        captions: what each sample shows, or None where that is unknown.
        nulls: the unconditional values of columns, by name, shape (1, *shape of a row).
        prompts: embedded prompts, which generated samples are conditioned on instead of those of the samples.
        text_from: the encoder of prompts that columns come from.
        latents_from: the autoencoder that a column 'latent', of the images' latents, comes from.
        others: further samples of the same data in other sizes, one data set for each (`realuid prepare --buckets`).
            Only training reads them: everything else is about the samples of this one's size.

    Raises:
        DataError: for values, labels, classes and sources that do not fit together, other dtypes than those, values
            that are not finite, and float images on the scale 0 to 255.
    """

    values: Values
    labels: Tensor | None = None
    name: str = "data"
    classes: tuple[str, ...] = field(default=())
    sources: Values | None = None
    degradation: str = ""
    degradation_seed: int = 0
    columns: Mapping[str, Values] = field(default_factory=dict)
    captions: Sequence[str | None] = ()
    nulls: Mapping[str, Tensor] = field(default_factory=dict)
    prompts: Prompts | None = None
    text_from: Origin = NOWHERE
    latents_from: Origin = NOWHERE
    others: tuple[Dataset, ...] = ()

    def __post_init__(self) -> None:
        check_values(self.values, f"'{self.name}'")
        object.__setattr__(self, "classes", tuple(map(str, self.classes)))
        if self.labels is not None:
            object.__setattr__(self, "labels", checked_labels(self.labels, len(self), self.classes, self.name))
        elif self.classes:
            raise DataError(f"'{self.name}' has {len(self.classes)} classes, but no labels. Pass both, or neither.")
        x, y = self.values, self.sources
        if y is not None and (y.shape != x.shape or y.dtype != x.dtype):
            raise DataError(
                f"pairs of '{self.name}' do not match: {tuple(x.shape)} {x.dtype} values, {tuple(y.shape)} {y.dtype} "
                "sources. Bring both to one shape."
            )
        if y is not None:
            check_values(y, f"the sources of '{self.name}'")
        for name, column in self.columns.items():
            if len(column) != len(x):
                raise DataError(f"column '{name}' of '{self.name}' has {len(column)} rows for {len(x)} samples.")
        if self.captions and len(self.captions) != len(x):
            raise DataError(f"'{self.name}' has {len(self.captions)} captions for {len(x)} samples.")
        for name, null in self.nulls.items():
            if name not in self.columns or len(null) != 1 or null.dim() != len(self.columns[name].shape):
                raise DataError(f"null '{name}' of '{self.name}', {tuple(null.shape)}, is no row of such a column.")

    def __repr__(self) -> str:
        kind = "images" if self.is_image else "samples"
        classes = f", {self.num_classes} classes" if self.labels is not None else ""
        pairs = ", in pairs" if self.sources is not None else ""
        sizes = "".join(f", {len(other)} of {other.shape}" for other in self.others)
        return f"Dataset '{self.name}': {len(self)} {kind} of shape {self.shape}{sizes}{classes}{pairs}"

    def _repr_html_(self) -> str:
        """The text, and the first samples as a picture."""
        text = f"<div>{html.escape(repr(self))}</div>"
        if self.is_image and self.shape[0] in (1, 3):
            first = self.values[:_SHOWN].cpu()
        elif len(self.shape) == 1 and self.shape[0] == 2:
            first = self.values[:_POINTS].cpu()
        else:
            return text
        buffer = io.BytesIO()
        grid_image(first).save(buffer, "PNG")
        return f'{text}<img src="data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}">'

    def __len__(self) -> int:
        return self.values.shape[0]

    def __getitem__(self, number: int) -> dict[str, Any]:
        """One sample: 'values' as stored, 'label' (its number), 'source' and further columns, as far as there are any.

        Raises:
            IndexError: for a number that is not from -n to n - 1.
        """
        if not -len(self) <= number < len(self):
            raise IndexError(f"'{self.name}' has {len(self)} samples, and none of number {number}.")
        batch = self.take(torch.tensor([number % len(self)]))
        sample = {"values": batch.values, "label": batch.labels, "source": batch.sources, **batch.columns}
        found: dict[str, Any] = {name: column[0] for name, column in sample.items() if column is not None}
        return found if self.labels is None else {**found, "label": int(found["label"])}

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample: (c, h, w) or (d,)."""
        return tuple(self.values.shape[1:])

    @property
    def sizes(self) -> tuple[Dataset, ...]:
        """The samples of every size, each as a data set; of one size this one alone."""
        return (self._with(others=()), *self.others)

    @property
    def is_image(self) -> bool:
        """Whether samples are uint8 images."""
        return self.values.dtype == torch.uint8

    @property
    def num_classes(self) -> int:
        """Number of classes, 0 without labels."""
        return len(self.classes)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes where they have other ones than their numbers."""
        return self.classes if self.classes != tuple(map(str, range(len(self.classes)))) else ()

    def column(self, name: str) -> Values:
        """What every sample holds as a condition: 'label', 'source' (images as they are stored) or a further one.

        Raises:
            DataError: where there is no such column.
        """
        column = {"label": self.labels, "source": self.sources, **self.columns}.get(name)
        if column is None:
            todo = "Pass other data."
            if self.captions and name in ("text", "pooled"):
                todo = "Embed its captions by `realuid prepare SOURCE OUT --teacher MODEL`, and pass OUT."
            raise DataError(f"'{self.name}' has no column '{name}', which the model reads. {todo}")
        return column

    def take(self, index: Tensor | slice) -> Batch:
        """Some of the samples, read now: int64 numbers of any order, shape (b,), or a slice."""
        pairs = {"labels": self.labels, "sources": self.sources}
        read = {name: None if column is None else column[index].cpu() for name, column in pairs.items()}
        columns = {name: column[index].cpu() for name, column in self.columns.items()}
        return Batch(self.values[index].cpu(), **read, columns=columns)

    def subset(self, index: Tensor | slice) -> Dataset:
        """Some of the samples, none of `others`; what is not in memory is read when it is asked for."""
        part = self._with(others=())._each(lambda column: some_of(column, index))
        if not self.captions:
            return part
        return part._with(captions=[self.captions[i] for i in numbers(index, len(self)).tolist()])

    def prefetch(self, columns: Sequence[Values], indices: Iterable[Tensor]) -> None:
        """Begin to read rows of columns that will be asked for by these indices, where they are not in memory."""
        stored = [column for column in columns if isinstance(column, Column)]
        for index in indices if stored else ():
            for column in stored:
                column.prefetch(index)

    def to(self, device: torch.device | str) -> Dataset:
        """The same data on a device, as far as it is in memory."""
        return self._each(lambda column: moved(column, device))

    def near(self, device: torch.device) -> Dataset:
        """The same data on a device, or where it is if it would take more than half of the memory free there."""
        size = sum(column.nbytes for column in self._columns if isinstance(column, Tensor))
        if device.type == "cuda" and size > torch.cuda.mem_get_info(device)[0] // 2:
            return self
        return self.to(device)

    @property
    def _columns(self) -> list[Values]:
        named = (self.values, self.labels, self.sources, *self.columns.values())
        others = [column for other in self.others for column in other._columns]
        return [*(column for column in named if column is not None), *others]

    def _each(self, change: Callable[[Values], Values]) -> Dataset:
        """The same data with its columns changed, all in the same way."""
        columns = {"values": self.values, "labels": self.labels, "sources": self.sources}
        changed: dict[str, Any] = {k: None if v is None else change(v) for k, v in columns.items()}
        changed["columns"] = {name: change(column) for name, column in self.columns.items()}
        changed["others"] = tuple(other._each(change) for other in self.others)
        return self._with(**changed)

    def _with(self, **changes: object) -> Dataset:
        """The same data with some fields changed in a way that needs no check."""
        new = copy.copy(self)
        for key, value in changes.items():
            object.__setattr__(new, key, value)
        return new

    def without_labels(self) -> Dataset:
        """The same samples, unconditional."""
        others = tuple(other.without_labels() for other in self.others)
        return self._with(labels=None, classes=(), others=others)

    def fingerprint(self, pairs: bool = False) -> str:
        """The key of what is cached about values and labels; with `pairs` about all columns.

        SHA-256 over the bytes in memory and the fingerprints of columns that are not. `others` count with `pairs`.
        """
        digest = hashlib.sha256(str((self.shape, self.num_classes)).encode())
        digest.update(content(self.values))
        if self.labels is not None:
            digest.update(content(self.labels))
        if pairs and self.sources is not None:
            digest.update(content(self.sources))
        for name in sorted(self.columns) if pairs else ():
            digest.update(name.encode() + content(self.columns[name]))
        for name in sorted(self.nulls) if pairs else ():
            digest.update(b"null " + name.encode() + content(self.nulls[name]))
        listed = self.prompts.columns if pairs and self.prompts is not None else {}
        for name in sorted(listed):
            digest.update(b"prompts " + name.encode() + content(listed[name]))
        for other in self.others if pairs else ():
            digest.update(other.fingerprint(pairs).encode())
        return digest.hexdigest()[:16]
