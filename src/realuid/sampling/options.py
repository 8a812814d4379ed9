"""Options of sampling, and checks that a model supports them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypedDict

import torch
from torch import Tensor

from realuid.errors import ConfigError
from realuid.models import Codec, Condition, ConditionSpec, MatchingModel, required
from realuid.models.calls import check_calls
from realuid.models.networks.condition import LABEL, SOURCE
from realuid.sampling.classes import numbered, spread_labels


class OneStep(Protocol):
    """A student, ours or one that another library computes."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def image_shape(self) -> tuple[int, ...]: ...

    @property
    def num_classes(self) -> int: ...

    @property
    def conditions(self) -> tuple[ConditionSpec, ...]: ...

    @property
    def coupled(self) -> bool: ...

    @property
    def class_names(self) -> tuple[str, ...]: ...

    @property
    def class_counts(self) -> tuple[int, ...]: ...

    @property
    def codec(self) -> Codec | None: ...

    @property
    def device(self) -> torch.device: ...

    @property
    def calls(self) -> int: ...

    def first_calls(self, calls: int | None) -> OneStep: ...

    def predictions(self, z: Tensor, condition: Condition | None = None, eps: Tensor | None = None) -> list[Tensor]: ...

    def __call__(self, z: Tensor, condition: Condition | None = None, eps: Tensor | None = None, /) -> Tensor: ...


class SamplingOptions(TypedDict, total=False):
    """Keyword arguments of functions that draw samples.

    condition: a `Condition`, or a mapping from names in `model.conditions` to tensors, arrays or lists with one row per
        sample; for a label also one number for all samples.
    labels, sources: the entries "label" (classes, by number or name, of every sample or one for all) and "source" (x_T
        in data units, shape (count, *shape)) of it. Without labels a conditional model makes all of its classes, as
        often as its training data has them (equally often, if that is not known).
    steps, sampler, guidance: of a teacher, by default its path's sampler and, of a text-to-image pipeline, its usual
        classifier-free guidance, else none; of a student none of them.
    clip: of a teacher: keep data predictions within limits, those of its diffusers scheduler or [-1, 1]. None: if its
        scheduler does so.
    calls: number of calls of a student, by default all; not read for a teacher.
    """

    condition: Mapping[str, Any] | None
    labels: Any
    sources: Any
    steps: int
    sampler: str | None
    guidance: float | None
    clip: bool | None
    calls: int | None


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """`SamplingOptions` with their defaults."""

    condition: Mapping[str, Any] | None = None
    labels: Any = None
    sources: Any = None
    steps: int = 50
    sampler: str | None = None
    guidance: float | None = None
    clip: bool | None = None
    calls: int | None = None

    def condition_of(self, model: MatchingModel | OneStep, count: int) -> Condition:
        """The condition of `count` samples.

        Raises:
            ConfigError: for one that is missing, wrong or superfluous.
        """
        values = dict(self.condition or {})
        for name, value in ((LABEL, self.labels), (SOURCE, self.sources)):
            if value is not None and name in values:
                raise ConfigError(f"{name}s = ... and condition['{name}'] are the same: pass either.")
            values |= {} if value is None else {name: value}
        if LABEL in values:
            values[LABEL] = numbered(values[LABEL], model.class_names, model.num_classes)
        elif model.num_classes and "labels" not in values:
            values[LABEL] = spread_labels(model.class_counts or [1] * model.num_classes, count)
        return required(model.conditions, values, count)


def check_use(
    model: MatchingModel | OneStep,
    sampler: str | None = None,
    guidance: float | None = None,
    calls: int | None = None,
    steps: int = Sampling.steps,
    clip: bool | None = None,
) -> None:
    """Raise ConfigError for options of teachers with a student, or a number of calls that it does not have."""
    if isinstance(model, MatchingModel):
        if calls is not None:
            raise ConfigError(f"calls = {calls}: the model is a teacher. Leave calls out, or pass steps.")
        return
    for name, value in (("sampler", sampler), ("guidance", None if guidance == 1 else guidance), ("clip", clip)):
        if value is not None:
            raise ConfigError(f"{name} = {value}: the model is a student, which has no sampler. Leave {name} out.")
    if steps != Sampling.steps:
        raise ConfigError(f"steps = {steps}: the model is a student, which makes calls. Leave steps out.")
    check_calls(model, calls)
