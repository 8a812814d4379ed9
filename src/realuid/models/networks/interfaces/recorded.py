"""Pipelines without an interface of their own: their denoiser is called as one call of theirs was seen to do it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from realuid.errors import ConfigError
from realuid.models.networks.condition import Condition
from realuid.models.networks.interfaces.base import Config, Interface, pooled_spec, text_spec, whole
from realuid.models.networks.specs import ConditionSpec
from realuid.models.prompts import POOLED, TEXT, TEXT_MASK


class Recorded(Interface):
    """The call is a network's further settings, which `loaders.recording` finds:

    sample, time: names of these arguments.
    divisor, offset: the denoiser is told time / divisor + offset.
    steps: whether times are whole numbers of steps.
    sign: -1 where the pipeline negates what the denoiser returns.
    told: conditions by name, each with its argument ('added.name' in a dictionary), width and dtype.
    guidance: the scale that the pipeline's call has by default.
    fixed: other arguments; {"each": numbers} are a row of every sample, {"tensor": numbers, "dtype": name} a tensor.
    """

    pipelines: ClassVar[tuple[str, ...]] = ()
    denoiser: ClassVar[str] = ""

    def conditions(self, config: Config, numbers: Mapping[str, Any]) -> tuple[ConditionSpec, ...]:
        told = numbers["told"]
        pooled = [pooled_spec(told[POOLED]["width"])] if POOLED in told else []
        return (text_spec(told[TEXT]["width"], masked=TEXT_MASK in told), *pooled)

    def usual_guidance(self, numbers: Mapping[str, Any]) -> float:
        return float(numbers.get("guidance", 1.0))

    def shape(self, config: Config) -> tuple[int, ...]:
        raise NotImplementedError("a recorded call says the shape of its samples")

    def call(
        self, denoiser: nn.Module, x: Tensor, time: Tensor, condition: Condition, numbers: Mapping[str, Any]
    ) -> Tensor:
        if list(x.shape[1:]) != list(numbers["size"]):
            raise ConfigError(
                f"the call of this pipeline was recorded with samples of {tuple(numbers['size'])}, not of "
                f"{tuple(x.shape[1:])}. Load the pipeline with the size that is wanted."
            )
        told = (whole(time) if numbers["steps"] else time) / numbers["divisor"] + numbers["offset"]
        arguments: dict[str, Any] = {numbers["sample"]: x, numbers["time"]: told, "return_dict": False}
        for name, value in numbers["fixed"].items():
            _put(arguments, name, _made(value, x))
        for name, how in numbers["told"].items():
            value = condition[name]
            _put(arguments, how["argument"], value.to(_dtype(how["dtype"])) if name == TEXT_MASK else value)
        output: Tensor = denoiser(**arguments)[0]
        return numbers["sign"] * output[:, : x.shape[1]]

    def named(self, answer: tuple[Any, ...]) -> Condition:
        raise NotImplementedError("prompts are encoded by the pipeline's own call")


def _put(arguments: dict[str, Any], name: str, value: Any) -> None:
    """Set an argument, or an entry of one that is a dictionary."""
    outer, _, inner = name.partition(".")
    if inner:
        arguments.setdefault(outer, {})[inner] = value
    else:
        arguments[outer] = value


def _made(value: Any, x: Tensor) -> Any:
    """An argument from settings that are JSON-ready."""
    if not isinstance(value, dict):
        return value
    made = torch.tensor(value["numbers"], device=x.device, dtype=_dtype(value["dtype"]))
    made = made.to(x.dtype) if made.is_floating_point() else made
    return made.expand(x.shape[0], *made.shape) if value["each"] else made


def _dtype(name: str) -> torch.dtype:
    found: torch.dtype = {"bool": torch.bool, "int64": torch.int64, "int32": torch.int32}.get(name, torch.float32)
    return found
