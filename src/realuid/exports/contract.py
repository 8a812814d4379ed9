"""The contract of exported files: a description of their inputs, output and origin."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast, get_args

import torch
from torch import Tensor

from realuid.errors import CheckpointError, ConfigError
from realuid.exports.options import Graph
from realuid.exports.schedule import Schedule
from realuid.models import Condition, ConditionSpec, Student, example
from realuid.models.networks.condition import OLD_NAMES, SOURCE
from realuid.models.networks.specs import Kind, label_spec, source_spec
from realuid.models.saving.folder import describe
from realuid.models.saving.weights import check_sample
from realuid.paths.base import broadcast
from realuid.reading import parse_json

#: Name of the contract's JSON inside an exported file or folder.
ABOUT = "realuid.json"

#: What exported inputs are called where they do not have the name of their condition.
_INPUTS = {name: called for called, name in OLD_NAMES.items()}
#: Far above what any model has; a file may say anything.
_MAX_CLASSES, _MAX_NAME = 1_000_000, 100


@dataclass(frozen=True)
class Contract:
    """Inputs and output of an exported student.

    `noise`: standard normal, float32, shape (b, *shape). `renoising`, of a student whose later calls take new noise:
    the same, shape (b, calls - 1, *shape). Where the graph is one call, `x_t` instead, the input of a call, float32,
    shape (b, *shape), and `time`, float32, shape (b,); `schedule` says what happens in between.

    Then the model's conditions: `labels`, int64, shape (b,), where there are classes; `x_T`, source images in data
    units, float32, shape (b, *shape), on coupled paths; others under their own names, float32. `images`: shape
    (b, *image_shape), float32 in data units ([-1, 1] for images, not clamped), or uint8. One call of a network of
    latents makes latents, of the noise's shape; the decoder is beside the file.

    Attributes:
        shape: of one sample's noise.
        image_shape: of one image; another one where the network makes latents.
        conditions: what it takes besides noise, in order.
        uint8: whether images leave as uint8.
        schedule: of a student of several calls.
        graph: whole, or one call.
        about: the model's description and whatever else is known of it, JSON-ready.
    """

    shape: tuple[int, ...]
    image_shape: tuple[int, ...]
    conditions: tuple[ConditionSpec, ...] = ()
    uint8: bool = False
    about: dict[str, Any] = field(default_factory=dict)
    schedule: Schedule | None = None
    graph: Graph = "whole"

    @classmethod
    def of(cls, student: Student, uint8: bool = False, graph: Graph = "whole", /, **about: Any) -> Contract:
        """The contract of a student; `about` adds to its description."""
        model, described = student.model, {**about, **describe(student)}
        schedule = Schedule.of(student) if student.calls > 1 or graph == "call" else None
        return cls(model.shape, model.image_shape, model.conditions, uint8, described, schedule, graph)

    @property
    def calls(self) -> int:
        """Number of network calls for a sample."""
        return self.schedule.calls if self.schedule else 1

    @property
    def result_shape(self) -> tuple[int, ...]:
        """Shape of one result of the graph."""
        return self.shape if self.graph == "call" else self.image_shape

    @property
    def decodes(self) -> bool:
        """Whether the graph's results are images, rather than latents."""
        return self.result_shape == self.image_shape

    @property
    def draws(self) -> bool:
        """Whether later calls take noise of their own."""
        return self.schedule is not None and self.schedule.draws

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
        first = ("x_t", "time") if self.graph == "call" else ("noise", "renoising") if self.draws else ("noise",)
        return (*first, *(_INPUTS.get(name, name) for name in self.names))

    def parts(self, inputs: Sequence[Tensor]) -> tuple[Tensor, Tensor | None, Condition]:
        """Noise, noise of later calls and the condition, from the inputs of a whole graph."""
        later, others = (inputs[1], inputs[2:]) if self.draws else (None, inputs[1:])
        return inputs[0], later, self.condition(others)

    def condition(self, inputs: Sequence[Tensor]) -> Condition:
        """What the last inputs say, as a condition."""
        return Condition(dict(zip(self.names, inputs, strict=True)))

    def arguments(self, first: Sequence[Tensor], condition: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """All inputs in order: `first` those before the condition's.

        Raises:
            ConfigError: where one is missing.
        """
        for name in self.names:
            if name not in condition:
                called = _INPUTS.get(name, name)
                raise ConfigError(f"the exported generator takes {', '.join(self.inputs)}: pass {called}.")
        return (*first, *(condition[name] for name in self.names))

    def draw(self, batch: int, seed: int = 0) -> tuple[Tensor, Condition, Tensor]:
        """Random noise, a condition and noise of later calls: what a student is called with."""
        random = torch.Generator().manual_seed(seed)
        noise = torch.randn(batch, *self.shape, generator=random)
        condition = example(self.conditions, batch, random)
        return noise, condition, torch.randn(batch, self.calls - 1, *self.shape, generator=random)

    def example(self, batch: int, seed: int = 0) -> tuple[Tensor, ...]:
        """Random inputs, in order; of one call a noisy one at a random time of the schedule."""
        noise, condition, later = self.draw(batch, seed)
        first: tuple[Tensor, ...] = (noise, later) if self.draws else (noise,)
        if self.graph == "call":
            assert self.schedule is not None, "the schedule of a graph of one call"
            k = torch.randint(self.calls, (batch,), generator=torch.Generator().manual_seed(seed))
            times, levels = (torch.tensor(values)[k] for values in (self.schedule.times, self.schedule.noise))
            first = (broadcast(levels, noise) * noise, times)
        return self.arguments(first, condition)

    def to_json(self) -> str:
        """As text; `from_json` reads it back."""
        conditions = [
            {"name": spec.name, "kind": spec.kind, "shape": spec.shape, "classes": spec.classes, "mask": spec.mask}
            for spec in self.conditions
        ]
        shapes = {"shape": self.shape, "image_shape": self.image_shape}
        calls = {"schedule": self.schedule.to_dict(), "graph": self.graph} if self.schedule else {}
        return json.dumps({**shapes, "conditions": conditions, "uint8": self.uint8, "about": self.about, **calls})

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
            schedule, graph = _calls(values)
            return cls(shapes["shape"], shapes["image_shape"], conditions, uint8, about, schedule, graph)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise CheckpointError(f"'{where}' is damaged: its contract cannot be read ({reason}).") from error


def _calls(values: dict[str, Any]) -> tuple[Schedule | None, Graph]:
    """Schedule and graph of a contract."""
    graph = values.get("graph", "whole")
    schedule = Schedule.from_dict(values["schedule"]) if "schedule" in values else None
    if graph not in get_args(Graph) or (graph == "call" and schedule is None):
        raise ValueError("a graph of one call needs a schedule, and others are whole")
    return schedule, cast(Graph, graph)


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
