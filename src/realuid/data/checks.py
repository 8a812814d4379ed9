"""Checks of the values and labels of a data set."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from realuid.data.columns import Column, Values
from realuid.errors import DataError, DataWarning

#: Largest number that a float sample in data units has; levels of 0 to 255 go beyond.
_LARGEST = 64.0
_WHOLE = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


def check_values(x: Values, what: str) -> None:
    """Raise DataError unless these are uint8 images or floats in data units; numbers are looked at in memory only."""
    if not isinstance(x, Tensor | Column):
        raise DataError(f"{what}: values are a {type(x).__name__}. Pass a tensor (torch.as_tensor makes one).")
    if x.dtype == torch.uint8:
        if len(x.shape) != 4:
            raise DataError(f"{what}: uint8 images of shape {tuple(x.shape)}. Needed is (n, c, h, w).")
        return
    if x.dtype != torch.float32:
        raise DataError(
            f"{what}: values are {x.dtype}. Allowed are uint8 images (levels of 0 to 255) and float32 in data units."
        )
    if len(x.shape) not in (2, 4):
        raise DataError(
            f"{what}: values of shape {tuple(x.shape)}. Needed are points, (n, d), or latents, (n, c, h, w)."
        )
    if isinstance(x, Tensor):
        _check_numbers(x, what)


def _check_numbers(x: Tensor, what: str) -> None:
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
            stacklevel=5,
        )


def checked_labels(labels: Tensor, count: int, classes: Sequence[str], name: str) -> Tensor:
    """The labels of `count` samples as int64, or a DataError where they are no classes of the data."""
    if (
        not isinstance(labels, Tensor)
        or labels.is_floating_point()
        or labels.is_complex()
        or labels.dtype == torch.bool
    ):
        kind = labels.dtype if isinstance(labels, Tensor) else type(labels).__name__
        raise DataError(f"labels of '{name}' are {kind}. Pass a tensor of whole numbers (int64).")
    if labels.shape != (count,):
        raise DataError(f"labels of '{name}' have shape {tuple(labels.shape)}, but there are {count} samples.")
    if not classes:
        raise DataError(
            f"'{name}' has labels, but no classes. Pass their names as well, for instance classes=('cat', 'dog')."
        )
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < len(classes):
        raise DataError(
            f"labels of '{name}' are {int(labels.min())} to {int(labels.max())}, but there are {len(classes)} "
            f"classes: allowed are 0 to {len(classes) - 1}."
        )
    return labels.long()
