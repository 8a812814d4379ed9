"""Conditions: the inputs of a network besides x_t and t, as named tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NoReturn

import torch
from torch import Tensor
from torch.nn import functional as F

from realuid.errors import ConfigError

#: Names of the two most common conditions. A network may declare others.
LABEL, SOURCE = "label", "source"

#: Entry of training batches of a student of several calls: which of them made a sample, int64, shape (b,).
CALL = "call"

#: Earlier names, still accepted by `Condition(...)` and used for exported inputs.
OLD_NAMES = {"labels": LABEL, "x_T": SOURCE}


class Condition(Mapping[str, Tensor]):
    """An immutable mapping from names to tensors, each with one row per sample: `Condition(label=y, source=x_T)`.

    Entries that are None are left out. Without entries it is false. Only the network that declared a name, and the path
    in the case of the source x_T, read an entry; everything else treats all entries alike.

    Raises:
        ConfigError: for what is not a mapping, or an entry that is not a tensor.
    """

    def __init__(self, values: Mapping[str, Tensor | None] | None = None, /, **named: Tensor | None):
        if values is not None and not isinstance(values, Mapping):
            raise ConfigError(
                f"Condition takes named tensors, not a {type(values).__name__}: write Condition(label=..., source=...)."
            )
        tensors: dict[str, Tensor] = {}
        for name, value in {**(values or {}), **named}.items():
            if value is None:
                continue
            if not isinstance(value, Tensor):
                raise ConfigError(f"condition '{name}' is a {type(value).__name__}: a tensor is needed.")
            tensors[OLD_NAMES.get(name, name)] = value
        self._tensors = tensors

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def __deepcopy__(self, memo: dict) -> Condition:
        return Condition({name: value.detach().clone() for name, value in self.items()})

    __eq__ = object.__eq__  # a mapping's own would compare tensors by their elements
    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return f"Condition({', '.join(f'{name}: {tuple(value.shape)}' for name, value in self.items())})"

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> NoReturn:
            called = OLD_NAMES.get(name, name)
            raise AttributeError(f"a Condition has no attribute '{name}': read condition['{called}'].")

    def select(self, index: slice | Tensor) -> Condition:
        """The rows of some of the samples."""
        return Condition({name: value[index] for name, value in self.items()})

    def replace(self, **named: Tensor | None) -> Condition:
        """The same with some entries set, or removed where None."""
        return Condition({**self, **named})

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Condition:
        """The same on a device; `dtype` applies to entries of floating-point numbers only."""
        moved = {name: value if device is None else value.to(device) for name, value in self.items()}
        if dtype is not None:
            moved = {name: value.to(dtype) if value.is_floating_point() else value for name, value in moved.items()}
        return Condition(moved)

    def expand(self, count: int) -> Condition:
        """The condition of one sample, for `count` samples; no memory is copied."""
        return Condition({name: value.expand(count, *value.shape[1:]) for name, value in self.items()})

    @staticmethod
    def cat(conditions: Sequence[Condition]) -> Condition:
        """Join the conditions of several batches, which have the same names.

        Sequences of different lengths (axis 1, as in text embeddings and their masks) are padded at their end with
        zeros, which in a mask means False.

        Raises:
            ConfigError: where the names differ.
        """
        names = list(conditions[0]) if conditions else []
        for condition in conditions[1:]:
            if set(condition) != set(names):
                raise ConfigError(
                    f"conditions of different names cannot be joined: {', '.join(names) or 'none'} and "
                    f"{', '.join(condition) or 'none'}."
                )
        return Condition({name: torch.cat(of_one_length([c[name] for c in conditions])) for name in names})


def of_one_length(tensors: list[Tensor]) -> list[Tensor]:
    """Pad axis 1 at its end with zeros to the longest, where lengths differ."""
    if tensors[0].dim() < 2 or len({tensor.shape[1] for tensor in tensors}) == 1:
        return tensors
    longest = max(tensor.shape[1] for tensor in tensors)
    return [F.pad(t, (*(0, 0) * (t.dim() - 2), 0, longest - t.shape[1])) for t in tensors]
