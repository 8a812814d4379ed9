"""Class labels of samples: numbers from names, and classes where none are given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from realuid.errors import ConfigError, unknown_name


def class_number(asked: str, names: Sequence[str], classes: int, argument: str = "labels") -> int:
    """The number of one class, from its name or, where no class has that name, from its number.

    Raises:
        ConfigError: for what is neither.
    """
    if asked in names:
        return list(names).index(asked)
    number = int(asked) if asked.isascii() and asked.isdecimal() and len(asked) < 19 else classes
    if number >= classes:
        allowed = f"0 to {classes - 1}"
        if names:
            raise ConfigError(f"{argument} {asked}: {unknown_name('class', asked, names)} Or a number: {allowed}.")
        raise ConfigError(f"{argument} {asked}: allowed are {allowed}; the classes of the model have no names.")
    return number


def numbered(labels: Any, names: Sequence[str], classes: int) -> Any:
    """Labels with names of classes replaced by numbers: one name, a list with names in it, or anything else as it is.

    Raises:
        ConfigError: for a name that no class has.
    """
    if isinstance(labels, str):
        return class_number(labels, names, classes)
    if isinstance(labels, list | tuple) and any(isinstance(label, str) for label in labels):
        return [class_number(label, names, classes) if isinstance(label, str) else label for label in labels]
    return labels


def spread_labels(counts: Sequence[int] | Tensor, count: int) -> Tensor:
    """Labels in proportion to `counts`, up to one, and spread evenly: shape (count,).

    The largest remainders get what rounding leaves. Where all classes are equally frequent: 0, 1, ..., 0, 1, ...

    Args:
        counts: frequency of each class, up to a factor; at least one is above 0.
        count: number of labels.
    """
    frequency = torch.as_tensor(counts).double()
    exact = frequency / frequency.sum() * count
    times = exact.floor().long()
    most = (exact - times).argsort(descending=True, stable=True)
    times[most[: count - int(times.sum())]] += 1
    labels = torch.repeat_interleave(torch.arange(len(times)), times)
    place = torch.cat([(torch.arange(int(n)) + 0.5) / n for n in times])
    return labels[place.argsort(stable=True)]
