"""Declarations of a network's conditions: name, kind, shape, and the null (unconditional) value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from realuid.errors import ConfigError
from realuid.models.networks.condition import LABEL, OLD_NAMES, SOURCE, Condition, of_one_length
from realuid.models.prompts import TEXT

Kind = Literal["label", "source", "text", "vector", "image"]

#: Length of an example of a sequence whose length varies.
_EXAMPLE_LENGTH = 4


@dataclass(frozen=True)
class ConditionSpec:
    """One condition that a network reads: an entry of `Condition`.

    Attributes:
        name: of the entry.
        kind: label (a class), source (x_T of a coupled path), text (a sequence of embeddings), vector (one embedding or
            a few numbers) or image (a reference).
        shape: of one sample's value; None in it stands for a length that varies.
        dtype: of the values. Labels are int64.
        classes: of a label: allowed are 0 to classes - 1.
        mask: of text: the name of the companion entry, bool, shape (b, length), True where there is text.
        null: the unconditional value in classifier-free guidance: a number that fills the tensor (a class, or 0), a
            tensor of one sample's shape (an embedding), or None if the condition cannot be dropped.
    """

    name: str
    kind: Kind
    shape: tuple[int | None, ...] = ()
    dtype: torch.dtype = torch.float32
    classes: int = 0
    mask: str = ""
    null: float | Tensor | None = field(default=None, compare=False)

    @property
    def names(self) -> tuple[str, ...]:
        """The entries of a `Condition` that belong to it: its own and its mask."""
        return (self.name, self.mask) if self.mask else (self.name,)

    @property
    def what(self) -> str:
        """Description for messages."""
        if self.kind == "label":
            return f"{self.classes} classes"
        return "the source image x_T" if self.kind == "source" else f"the {self.kind} '{self.name}'"

    @property
    def argument(self) -> str:
        """Name of the argument of `sample` and `generate`."""
        return {LABEL: "labels", SOURCE: "sources"}.get(self.name, f"condition['{self.name}']")

    def tensor(self, value: Any, count: int) -> Tensor:
        """A user's value as a checked tensor: a tensor, an array, a list or, for all samples alike, one number.

        Raises:
            ConfigError: as `check` does, and for what is no array of numbers.
        """
        try:
            values = torch.as_tensor(value)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ConfigError(f"{self.argument}: {type(value).__name__} is no array of numbers ({error}).") from error
        if values.dim() == 0 and not self.shape:
            values = values.expand(count)
        integer = not (values.is_floating_point() or values.is_complex() or values.dtype == torch.bool)
        if values.is_floating_point() if self.dtype.is_floating_point else integer:
            values = values.to(self.dtype)
        self.check(values, count)
        return values

    def check(self, value: Tensor, count: int) -> None:
        """Raise ConfigError unless a value is one for `count` samples: dtype, shape, classes, finite numbers."""
        if value.dtype != self.dtype:
            raise ConfigError(f"{self.argument} are {_name(value.dtype)}: needed are {_name(self.dtype)}.")
        fits = value.dim() == 1 + len(self.shape) and len(value) == count
        if not fits or any(n not in (None, m) for n, m in zip(self.shape, value.shape[1:], strict=True)):
            shape = ", ".join(str(n or "any length") for n in (count, *self.shape)) + ("" if self.shape else ",")
            one = "one per sample: " if value.dim() != 1 + len(self.shape) or len(value) != count else ""
            raise ConfigError(f"{self.argument} have shape {tuple(value.shape)}: needed is {one}({shape}).")
        if self.kind == "label" and count:
            low, high = int(value.min()), int(value.max())
            if low < 0 or high >= self.classes:
                wrong = low if low < 0 else high
                raise ConfigError(
                    f"{self.argument}: class {wrong} does not exist, allowed are 0 to {self.classes - 1}."
                )
        if value.is_floating_point() and not value.isfinite().all():
            raise ConfigError(f"{self.argument} hold NaN or infinite numbers.")

    def nulls(self, like: Tensor) -> Tensor:
        """The null values of a batch, in the shape of `like`.

        Raises:
            ConfigError: for a condition that cannot be dropped.
        """
        if self.null is None:
            raise ConfigError(f"{self.what}: this condition has no null, so it cannot be dropped.")
        if isinstance(self.null, Tensor):
            return self.null.to(like).expand(len(like), *self.null.shape)
        return torch.full_like(like, self.null)

    def example(self, count: int, random: torch.Generator | None = None) -> Tensor:
        """Values for `count` samples, for dry runs and traces: zeros, or random ones if a generator is passed.

        Those of a source or an image lie in [-1, 1].
        """
        shape = (count, *(_EXAMPLE_LENGTH if n is None else n for n in self.shape))
        if random is None:
            return torch.zeros(shape, dtype=self.dtype)
        if self.kind == "label":
            return torch.randint(self.classes, shape, generator=random)
        values = torch.randn(shape, generator=random, dtype=self.dtype)
        return values.clamp(-1, 1) if self.kind in ("source", "image") else values


def label_spec(classes: int, null: int | None = None) -> ConditionSpec:
    """A class label, int64, shape (b,)."""
    return ConditionSpec(LABEL, "label", dtype=torch.int64, classes=classes, null=null)


def source_spec(shape: tuple[int, ...]) -> ConditionSpec:
    """The source x_T of a coupled path, in data units, shape (b, *shape)."""
    return ConditionSpec(SOURCE, "source", shape)


def text_spec(shape: tuple[int | None, int], mask: str = "", null: Condition | None = None) -> ConditionSpec:
    """Embeddings of a prompt's tokens, shape (b, length, width).

    Args:
        shape: (length, width); a length of None may vary.
        mask: name of the entry that says which tokens are text; '' for a network that takes none.
        null: the unconditional condition, one row; its tokens that are masked out are left out.
    """
    value = None if null is None else null.get(TEXT)
    if value is None:
        return ConditionSpec(TEXT, "text", shape, mask=mask)
    tokens = value[0][null[mask][0]] if null is not None and null.get(mask) is not None else value[0]
    return ConditionSpec(TEXT, "text", shape, mask=mask, null=(tokens if len(tokens) else value[0, :1]).float())


def required(specs: Sequence[ConditionSpec], values: Mapping[str, Any], count: int) -> Condition:
    """The condition of `count` samples from what a user passed, checked.

    Args:
        specs: what the model declares.
        values: name -> what `ConditionSpec.tensor` takes; None: not given.
        count: how many samples.

    Raises:
        ConfigError: for a missing, wrong or superfluous value.
    """
    given = {OLD_NAMES.get(name, name): value for name, value in values.items() if value is not None}
    known = {name for spec in specs for name in spec.names}
    for name in given:
        if name not in known:
            read = " and ".join(spec.what for spec in specs) or "no condition"
            argument = {LABEL: "labels", SOURCE: "sources"}.get(name, f"condition['{name}']")
            raise ConfigError(f"{argument}: the model reads {read}, so this has no effect. Leave it out.")
    tensors = {}
    for spec in specs:
        if spec.name not in given:
            raise ConfigError(missing(spec))
        tensors[spec.name] = spec.tensor(given[spec.name], count)
        if spec.mask:
            tensors[spec.mask] = _mask(spec, given.get(spec.mask), tensors[spec.name])
    return Condition(tensors)


def missing(spec: ConditionSpec) -> str:
    """The message for a missing condition."""
    if spec.kind == "source":
        return f"the model starts from source images: pass {spec.argument}, one per sample."
    return f"the model is conditional on {spec.what}: pass {spec.argument}, one per sample."


def without(specs: Sequence[ConditionSpec], condition: Condition) -> Condition:
    """The unconditional counterpart: every condition that has a null is replaced by it, others stay."""
    changed: dict[str, Tensor] = {}
    for spec in specs:
        if spec.null is not None and spec.name in condition:
            changed[spec.name] = nulls = spec.nulls(condition[spec.name])
            if spec.mask:
                changed[spec.mask] = torch.ones(nulls.shape[:2], dtype=torch.bool, device=nulls.device)
    return condition.replace(**changed)


def dropped(specs: Sequence[ConditionSpec], condition: Condition, rows: Tensor) -> Condition:
    """Conditions replaced by their nulls in some rows, for training a model that classifier-free guidance can use.

    Args:
        specs: what the model declares.
        condition: of the batch.
        rows: which samples lose their conditions, bool, shape (b,).
    """
    null, changed = without(specs, condition), {}
    for name, value in condition.items():
        if null[name] is not value:
            kept, other = of_one_length([value, null[name]])
            changed[name] = torch.where(rows.reshape(-1, *(1,) * (kept.dim() - 1)), other, kept)
    return condition.replace(**changed)


def example(specs: Sequence[ConditionSpec], count: int, random: torch.Generator | None = None) -> Condition:
    """A condition for `count` samples, for dry runs and traces; arguments as for `ConditionSpec.example`."""
    values = {spec.name: spec.example(count, random) for spec in specs}
    masks = {
        spec.mask: torch.ones(values[spec.name].shape[:2], dtype=torch.bool, device=values[spec.name].device)
        for spec in specs
        if spec.mask
    }
    return Condition({**values, **masks})


def _mask(spec: ConditionSpec, mask: Any, value: Tensor) -> Tensor:
    """The mask of a text; by default all True."""
    if mask is None:
        return torch.ones(value.shape[:2], dtype=torch.bool)
    mask = torch.as_tensor(mask)
    if mask.shape != value.shape[:2] or mask.is_floating_point():
        raise ConfigError(
            f"condition['{spec.mask}'] has shape {tuple(mask.shape)} and dtype {_name(mask.dtype)}: needed are bool "
            f"and {tuple(value.shape[:2])}."
        )
    return mask.bool()


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
