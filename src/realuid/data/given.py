"""Data sets from Python objects: a tensor, an array, a list of images or a torch data set."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import IterableDataset

from realuid.data.dataset import Dataset
from realuid.data.decode import UnreadableError, pixels_of
from realuid.data.sources import load_dataset
from realuid.errors import DataError

#: What `as_dataset` takes.
DataLike: TypeAlias = Dataset | str | Path | Tensor | np.ndarray | Sequence[Any] | TorchDataset


def as_dataset(data: DataLike, name: str = "data") -> Dataset:
    """Data in one of the forms that people have it in, in memory.

    Args:
        data: a `Dataset`; a name or path that `load_dataset` takes; a tensor or array, uint8 images of shape
            (n, c, h, w) or floats in data units; a pair (samples, labels) of tensors or arrays; a list of images of
            Pillow; a map-style data set of torch (or torchvision) whose items are images of Pillow or tensors
            (c, h, w), alone or with a class number behind them. Its attribute `classes` names the classes.
        name: of data that has none, for messages and reports.

    Raises:
        DataError: for anything else, images of several sizes or channels, and what `Dataset` refuses.
    """
    if isinstance(data, Dataset):
        return data
    if isinstance(data, str | Path):
        return load_dataset(data)
    if isinstance(data, Tensor | np.ndarray):
        return Dataset(torch.as_tensor(data), name=name)
    if isinstance(data, tuple) and len(data) == 2 and all(isinstance(part, Tensor | np.ndarray) for part in data):
        return _labelled(torch.as_tensor(data[0]), torch.as_tensor(data[1]), name, ())
    if isinstance(data, IterableDataset) or not (hasattr(data, "__len__") and hasattr(data, "__getitem__")):
        raise DataError(
            f"data is a {type(data).__name__}. Allowed are a realuid.data.Dataset, a name or path, a tensor, a list of "
            "images of Pillow, and a map-style data set of torch."
        )
    items = [data[i] for i in range(len(data))]  # type: ignore[arg-type]
    return _collected(items, name, tuple(map(str, getattr(data, "classes", ()))))


def _collected(items: list[Any], name: str, classes: tuple[str, ...]) -> Dataset:
    if not items:
        raise DataError(f"'{name}' holds no samples.")
    pairs = [item if isinstance(item, tuple | list) else (item,) for item in items]
    samples = [_sample(pair[0], f"item {i} of '{name}'") for i, pair in enumerate(pairs)]
    for i, sample in enumerate(samples):
        if sample.shape != samples[0].shape or sample.dtype != samples[0].dtype:
            raise DataError(
                f"items of '{name}' differ: item {i} is {_what(sample)}, item 0 {_what(samples[0])}. Bring them to one "
                "size and mode, or save them in a folder and pass load_dataset(folder, resolution=..., channels=...)."
            )
    values = torch.stack(samples)
    labels = [pair[1] for pair in pairs if len(pair) == 2]
    if len(labels) < len(pairs):
        if labels or any(len(pair) > 2 for pair in pairs):
            raise DataError(f"items of '{name}' have to be samples, or (sample, class), all of them alike.")
        return Dataset(values, name=name)
    return _labelled(values, torch.as_tensor(labels), name, classes)


def _labelled(values: Tensor, labels: Tensor, name: str, classes: Iterable[str]) -> Dataset:
    whole = labels.numel() and not labels.is_floating_point() and labels.dtype != torch.bool
    known = tuple(classes) or (tuple(map(str, range(int(labels.max()) + 1))) if whole else ("0",))
    return Dataset(values, labels, name, known)


def _sample(item: Any, what: str) -> Tensor:
    """A sample as a tensor: uint8 of shape (c, h, w) where it is an image of Pillow."""
    if isinstance(item, Image.Image):
        try:
            return torch.from_numpy(pixels_of(item.copy(), None, None).pixels.copy()).permute(2, 0, 1)
        except UnreadableError as error:
            raise DataError(f"{what} cannot be read ({error}).") from error
    if isinstance(item, Tensor | np.ndarray):
        return torch.as_tensor(item)
    raise DataError(f"{what} is a {type(item).__name__}. Allowed are images of Pillow and tensors (c, h, w).")


def _what(sample: Tensor) -> str:
    if sample.dim() == 3:
        channels, height, width = sample.shape
        return f"{width}x{height} with {channels} channel(s), {sample.dtype}"
    return f"of shape {tuple(sample.shape)}, {sample.dtype}"
