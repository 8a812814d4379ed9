"""What every exported format promises: which inputs it takes, what comes out, and where it came from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast, get_args

import torch
from torch import Tensor

from realuid.errors import CheckpointError, ConfigError
from realuid.models import Condition, ConditionSpec, Student, example
from realuid.models.networks.condition import OLD_NAMES, SOURCE
from realuid.models.networks.specs import Kind, label_spec, source_spec
from realuid.models.saving.folder import describe
from realuid.models.saving.weights import check_sample
from realuid.reading import parse_json

#: Name of the contract's JSON inside an exported file or folder.
ABOUT = "realuid.json"

#: What exported inputs are called where they do not have the name of their condition.
_INPUTS = {name: called for called, name in OLD_NAMES.items()}
#: Far above what any model has; a file may say anything.
_MAX_CLASSES, _MAX_NAME = 1_000_000, 100


@dataclass(frozen=True)
class Contract:
    """Inputs and output of an exported generator.

    `noise`: standard normal, float32, shape (b, *shape). Then the model's conditions: `labels`, int64, shape (b,),
    where there are classes; `x_T`, source images in data units, float32, shape (b, *shape), on coupled paths; others
    under their own names, float32. `images`: shape (b, *image_shape), float32 in data units ([-1, 1] for images, not
    clamped), or uint8.

    Attributes:
        shape: of one sample's noise.
        image_shape: of one image; another one where the network makes latents, which the file decodes itself.
        conditions: what it takes besides noise, in order.
        uint8: whether images leave as uint8.
        about: the model's description and whatever else is known of it, JSON-ready.
    """

    shape: tuple[int, ...]
    image_shape: tuple[int, ...]
    conditions: tuple[ConditionSpec, ...] = ()
    uint8: bool = False
    about: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, generator: Student, uint8: bool = False, /, **about: Any) -> Contract:
        """The contract of a generator; `about` adds to its description."""
        model = generator.model
        described = {**about, **describe(generator)}
        return cls(model.shape, model.image_shape, model.conditions, uint8, described)

    @property
    def num_classes(self) -> int:
        """Number of classes, 0 where it takes no label."""
        return next((spec.classes for spec in self.conditions if spec.kind == "label"), 0)

    @property
    def coupled(self) -> bool:
        """Whether it takes source images x_T."""
        return any(spec.name == SOURCE for spec in self.conditions)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the entries of a `Condition` that it takes, in order."""
        return tuple(name for spec in self.conditions for name in spec.names)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the inputs, in order."""
        return ("noise", *(_INPUTS.get(name, name) for name in self.names))

    def condition(self, inputs: Sequence[Tensor]) -> Condition:
        """What the inputs but the noise say, as a condition."""
        return Condition(dict(zip(self.names, inputs, strict=True)))

    def arguments(self, noise: Tensor, condition: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """All inputs in order.

        Raises:
            ConfigError: where one is missing.
        """
        for name, called in zip(self.names, self.inputs[1:], strict=True):
            if name not in condition:
                raise ConfigError(f"the exported generator takes {', '.join(self.inputs)}: pass {called}.")
        return (noise, *(condition[name] for name in self.names))

    def example(self, batch: int, seed: int = 0) -> tuple[Tensor, ...]:
        """Random inputs, in order."""
        random = torch.Generator().manual_seed(seed)
        noise = torch.randn(batch, *self.shape, generator=random)
        return self.arguments(noise, example(self.conditions, batch, random))

    def to_json(self) -> str:
        """As text; `from_json` reads it back."""
        conditions = [
            {"name": spec.name, "kind": spec.kind, "shape": spec.shape, "classes": spec.classes, "mask": spec.mask}
            for spec in self.conditions
        ]
        shapes = {"shape": self.shape, "image_shape": self.image_shape}
        return json.dumps({**shapes, "conditions": conditions, "uint8": self.uint8, "about": self.about})

    @classmethod
    def from_json(cls, text: str | None, where: str) -> Contract:
        """The contract in a file's text.

        Raises:
            CheckpointError: where there is none, or it is damaged.
        """
        if not text:
            raise CheckpointError(f"'{where}' was not written by `realuid export`: it does not say what it takes.")
        try:
            values = parse_json(text, "its contract", finite=False)
            shapes = {name: tuple(values[name]) for name in ("shape", "image_shape")}
            for shape in shapes.values():
                check_sample(shape)
            conditions = _conditions(values, shapes["shape"])
            uint8, about = values.get("uint8", False), values.get("about", {})
            if not isinstance(uint8, bool) or not isinstance(about, dict):
                raise ValueError("uint8 is no yes or no, or about is no dictionary")
            return cls(**shapes, conditions=conditions, uint8=uint8, about=about)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise CheckpointError(f"'{where}' is damaged: what it says of itself cannot be read ({reason}).") from error


def _conditions(values: dict[str, Any], shape: tuple[int, ...]) -> tuple[ConditionSpec, ...]:
    """The conditions of a contract; older ones know a number of classes and whether there is an x_T."""
    if "conditions" not in values:
        classes, coupled = _classes(values.get("num_classes", 0)), bool(values.get("coupled", False))
        return (*([label_spec(classes)] if classes else []), *([source_spec(shape)] if coupled else []))
    specs = []
    for entry in values["conditions"]:
        name, kind, mask = (str(entry[key])[:_MAX_NAME] for key in ("name", "kind", "mask"))
        if kind not in get_args(Kind):
            raise ValueError(f"unknown kind of condition {kind!r}")
        sizes = tuple(entry["shape"])
        check_sample(tuple(1 if n is None else n for n in sizes) or (1,))
        dtype = torch.int64 if kind == "label" else torch.float32
        if (kind == "label" and not entry["classes"]) or (mask and not sizes):
            raise ValueError(f"no values of the condition {name!r} fit")
        specs.append(ConditionSpec(name, cast(Kind, kind), sizes, dtype, _classes(entry["classes"]), mask))
    if len({name for spec in specs for name in spec.names}) < sum(len(spec.names) for spec in specs):
        raise ValueError("two conditions of one name")
    return tuple(specs)


def _classes(number: Any) -> int:
    if type(number) is not int or not 0 <= number <= _MAX_CLASSES:
        raise ValueError(f"{str(number)[:30]} classes, allowed are 0 to {_MAX_CLASSES:,}")
    return number
