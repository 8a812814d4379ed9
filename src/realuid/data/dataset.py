"""Images (or toy points) held in memory, and batches of them on a device."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from realuid.errors import DataError, NonFiniteError
from realuid.seeds import stream


@dataclass(frozen=True)
class Dataset:
    """A data set in memory: uint8 images, or float32 points for toy distributions.

    Args:
        values: uint8, shape (n, c, h, w), or float32, shape (n, d).
        labels: int64 classes, shape (n,), or None.
        name: for messages and reports.
        classes: class names; their number is the number of classes.
        sources: what each sample comes in a pair with (for instance its degraded image), like `values`, or None.
        degradation: how `sources` were made from `values`, a name in `realuid.data.DEGRADATIONS`; '' if unknown.
        degradation_seed: with which seed, where it draws at random.
        columns: further conditions by name, each with one row per sample, for networks that declare them.

    Raises:
        DataError: if `sources` are not like `values`.
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
        x, y = self.values, self.sources
        if y is not None and (y.shape != x.shape or y.dtype != x.dtype):
            raise DataError(
                f"pairs of '{self.name}' do not match: {tuple(x.shape)} {x.dtype} values, {tuple(y.shape)} {y.dtype} "
                "sources. Bring both to one shape."
            )

        for name, column in self.columns.items():
            if len(column) != len(x):
                raise DataError(f"column '{name}' of '{self.name}' has {len(column)} rows for {len(x)} samples.")

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
        return dataclasses.replace(self, **changed)

    def without_labels(self) -> Dataset:
        """The same samples, unconditional."""
        return dataclasses.replace(self, labels=None, classes=())

    def fingerprint(self, pairs: bool = False) -> str:
        """SHA-256 over values and labels: the key of what is cached about them. With `pairs` over sources, too."""
        digest = hashlib.sha256(str((self.shape, self.num_classes)).encode())
        digest.update(self.values.cpu().contiguous().numpy().tobytes())
        if self.labels is not None:
            digest.update(self.labels.cpu().contiguous().numpy().tobytes())
        if pairs and self.sources is not None:
            digest.update(self.sources.cpu().contiguous().numpy().tobytes())
        for name in sorted(self.columns) if pairs else ():
            digest.update(name.encode() + self.columns[name].cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]


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
