"""Images (or toy points) held in memory, and batches of them on a device."""

from __future__ import annotations

import copy
import hashlib
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from realuid.errors import DataError, DataWarning, NonFiniteError
from realuid.seeds import stream


@dataclass(frozen=True, repr=False)
class Dataset:
    """A data set in memory: uint8 images, or float32 points for toy distributions.

    Args:
        values: uint8, shape (n, c, h, w), or float32, shape (n, d).
        labels: int64 classes, shape (n,), or None; other whole numbers become int64.
        name: for messages and reports.
        classes: class names; their number is the number of classes.
        sources: what each sample comes in a pair with (for instance its degraded image), like `values`, or None.
        degradation: how `sources` were made from `values`, a name in `realuid.data.DEGRADATIONS`; '' if unknown.
        degradation_seed: with which seed, where it draws at random.
        columns: further conditions by name, each with one row per sample, for networks that declare them.

    Raises:
        DataError: for values, labels, classes and sources that do not fit together, other dtypes than those, values
            that are not finite, and float images on the scale 0 to 255.
    """

    values: Tensor
    labels: Tensor | None = None
    name: str = "data"
    classes: tuple[str, ...] = field(default=())
    sources: Tensor | None = None
    degradation: str = ""
    degradation_seed: int = 0
    columns: Mapping[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_values(self.values, f"'{self.name}'")
        object.__setattr__(self, "classes", tuple(map(str, self.classes)))
        if self.labels is not None:
            object.__setattr__(self, "labels", _checked_labels(self))
        elif self.classes:
            raise DataError(f"'{self.name}' has {len(self.classes)} classes, but no labels. Pass both, or neither.")
        x, y = self.values, self.sources
        if y is not None and (y.shape != x.shape or y.dtype != x.dtype):
            raise DataError(
                f"pairs of '{self.name}' do not match: {tuple(x.shape)} {x.dtype} values, {tuple(y.shape)} {y.dtype} "
                "sources. Bring both to one shape."
            )
        if y is not None:
            _check_values(y, f"the sources of '{self.name}'")

        for name, column in self.columns.items():
            if len(column) != len(x):
                raise DataError(f"column '{name}' of '{self.name}' has {len(column)} rows for {len(x)} samples.")

    def __repr__(self) -> str:
        kind = "images" if self.is_image else "samples"
        classes = f", {self.num_classes} classes" if self.labels is not None else ""
        pairs = ", in pairs" if self.sources is not None else ""
        return f"Dataset '{self.name}': {len(self)} {kind} of shape {self.shape}{classes}{pairs}"

    def __len__(self) -> int:
        return self.values.shape[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample: (c, h, w) or (d,)."""
        return tuple(self.values.shape[1:])

    @property
    def is_image(self) -> bool:
        """Whether samples are uint8 images."""
        return self.values.dtype == torch.uint8

    @property
    def num_classes(self) -> int:
        """Number of classes, 0 without labels."""
        return len(self.classes)

    def column(self, name: str) -> Tensor:
        """What every sample holds as a condition: 'label', 'source' (images as they are stored) or a further one.

        Raises:
            DataError: where there is no such column.
        """
        column = {"label": self.labels, "source": self.sources, **self.columns}.get(name)
        if column is None:
            raise DataError(f"'{self.name}' has no column '{name}', which the model reads. Pass other data.")
        return column

    def to(self, device: torch.device | str) -> Dataset:
        """The same data on a device."""
        return self._each(lambda tensor: tensor.to(device))

    def near(self, device: torch.device) -> Dataset:
        """The same data on a device, or where it is if it would take more than half of the memory free there."""
        size = sum(t.nbytes for t in (self.values, self.labels, self.sources, *self.columns.values()) if t is not None)
        if device.type == "cuda" and size > torch.cuda.mem_get_info(device)[0] // 2:
            return self
        return self.to(device)

    def subset(self, index: Tensor | slice) -> Dataset:
        """Some of the samples."""
        return self._each(lambda tensor: tensor[index])

    def _each(self, change: Callable[[Tensor], Tensor]) -> Dataset:
        """The same data with its tensors changed, all in the same way."""
        tensors = {"values": self.values, "labels": self.labels, "sources": self.sources}
        changed: dict[str, Any] = {k: None if v is None else change(v) for k, v in tensors.items()}
        changed["columns"] = {name: change(column) for name, column in self.columns.items()}
        return self._with(**changed)

    def _with(self, **changes: object) -> Dataset:
        """The same data with some fields changed in a way that needs no check."""
        new = copy.copy(self)
        for key, value in changes.items():
            object.__setattr__(new, key, value)
        return new

    def without_labels(self) -> Dataset:
        """The same samples, unconditional."""
        return self._with(labels=None, classes=())

    def fingerprint(self, pairs: bool = False) -> str:
        """SHA-256 over values and labels: the key of what is cached. With `pairs` over other columns, too."""
        digest = hashlib.sha256(str((self.shape, self.num_classes)).encode())
        digest.update(self.values.cpu().contiguous().numpy().tobytes())
        if self.labels is not None:
            digest.update(self.labels.cpu().contiguous().numpy().tobytes())
        if pairs and self.sources is not None:
            digest.update(self.sources.cpu().contiguous().numpy().tobytes())
        for name in sorted(self.columns) if pairs else ():
            digest.update(name.encode() + self.columns[name].cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]


#: Largest number that a float sample in data units has; levels of 0 to 255 go beyond.
_LARGEST = 64.0
_WHOLE = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


def _check_values(x: Tensor, what: str) -> None:
    if not isinstance(x, Tensor):
        raise DataError(f"{what}: values are a {type(x).__name__}. Pass a tensor (torch.as_tensor makes one).")
    if x.dtype == torch.uint8:
        if x.dim() != 4:
            raise DataError(f"{what}: uint8 images of shape {tuple(x.shape)}. Needed is (n, c, h, w).")
        return
    if x.dtype != torch.float32:
        raise DataError(
            f"{what}: values are {x.dtype}. Allowed are uint8 images (levels of 0 to 255) and float32 in data units."
        )
    if x.dim() not in (2, 4):
        raise DataError(
            f"{what}: values of shape {tuple(x.shape)}. Needed are points, (n, d), or latents, (n, c, h, w)."
        )
    if broken := int((~torch.isfinite(x)).flatten(1).any(1).sum()):
        raise DataError(f"{what}: {broken} of {len(x)} samples hold NaN or infinite numbers. Leave them out.")
    if x.dim() == 4 and len(x) and x.min() >= 0 and x.max() > _LARGEST:
        raise DataError(
            f"{what}: float images from {float(x.min()):g} to {float(x.max()):g}, which look like levels of 0 to 255. "
            "Pass them as uint8: x.round().to(torch.uint8)."
        )
    if x.dim() == 4 and len(x) and x.min() >= 0 and 0 < x.max() <= 1:
        warnings.warn(
            f"{what}: all float values are between 0 and 1, but data units are from -1 to 1. Pass 2 * x - 1, or uint8.",
            DataWarning,
            stacklevel=4,
        )


def _checked_labels(data: Dataset) -> Tensor:
    """The labels as int64, or a DataError where they are no classes of the data."""
    labels, name = data.labels, data.name
    if (
        not isinstance(labels, Tensor)
        or labels.is_floating_point()
        or labels.is_complex()
        or labels.dtype == torch.bool
    ):
        kind = labels.dtype if isinstance(labels, Tensor) else type(labels).__name__
        raise DataError(f"labels of '{name}' are {kind}. Pass a tensor of whole numbers (int64).")
    if labels.shape != (len(data),):
        raise DataError(f"labels of '{name}' have shape {tuple(labels.shape)}, but there are {len(data)} samples.")
    if not data.classes:
        raise DataError(
            f"'{name}' has labels, but no classes. Pass their names as well, for instance classes=('cat', 'dog')."
        )
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < len(data.classes):
        raise DataError(
            f"labels of '{name}' are {int(labels.min())} to {int(labels.max())}, but there are {len(data.classes)} "
            f"classes: allowed are 0 to {len(data.classes) - 1}."
        )
    return labels.long()


def to_float(values: Tensor) -> Tensor:
    """uint8 0..255 to float32 in [-1, 1]; float data unchanged."""
    return values.float() / 127.5 - 1 if values.dtype == torch.uint8 else values


def to_uint8(x: Tensor) -> Tensor:
    """Float images in [-1, 1] to uint8, rounded to the nearest level and clamped: the inverse of `to_float`.

    Raises:
        NonFiniteError: for infinite numbers and NaN, which would become levels like others.
    """
    return quantise(require_finite(x))


def quantise(x: Tensor) -> Tensor:
    """`to_uint8` of what is known to be finite; a pure tensor operation, which exported programs may hold."""
    return ((x.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def require_finite(x: Tensor) -> Tensor:
    """The samples themselves, shape (b, *d), or a NonFiniteError that says how many of them are not finite."""
    broken = int((~torch.isfinite(x)).flatten(1).any(dim=1).sum())
    if broken:
        raise NonFiniteError(
            f"{broken} of {len(x)} samples hold NaN or infinite numbers: the weights have gone out of bounds. Take an "
            "earlier checkpoint, or train in precision fp32."
        )
    return x


def random_flip(x: Tensor, uniform: Tensor) -> Tensor:
    """Mirror the images whose random number is below one half.

    Args:
        x: shape (b, c, h, w).
        uniform: in [0, 1), shape (b,).
    """
    return torch.where((uniform < 0.5).view(-1, 1, 1, 1), x.flip(-1), x)


class Order:
    """An endless, reproducible order of samples: epoch e is a permutation seeded by (seed, e).

    Which samples stand at a position depends on nothing else, so resuming needs no state but the position.
    """

    def __init__(self, size: int, seed: int, device: torch.device | str = "cpu"):
        self.size, self.seed, self.device = size, seed, device
        self._epochs: dict[int, Tensor] = {}

    def _epoch(self, number: int) -> Tensor:
        if number not in self._epochs:
            permutation = torch.randperm(self.size, generator=stream(self.seed, "order", number)).to(self.device)
            self._epochs = {k: v for k, v in self._epochs.items() if k == number - 1}
            self._epochs[number] = permutation
        return self._epochs[number]

    def indices(self, position: int, count: int) -> Tensor:
        """Indices of the samples at positions position, ..., position + count - 1; int64, shape (count,)."""
        if count > self.size:
            raise DataError(f"a batch of {count} is larger than the data ({self.size} samples). Lower the batch size.")
        epoch, offset = divmod(position, self.size)
        head = self._epoch(epoch)[offset : offset + count]
        if len(head) == count:
            return head
        return torch.cat([head, self._epoch(epoch + 1)[: count - len(head)]])
