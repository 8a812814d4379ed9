"""Short descriptions of models, as they are printed and shown in notebooks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from realuid.models.matching import MatchingModel


def facts(model: MatchingModel, calls: str = "") -> dict[str, str]:
    """What one wants to know first of a model: name -> value.

    Args:
        model: itself, or that of a student.
        calls: of a student.
    """
    found = {"path": model.path.name, "prediction": model.prediction}
    if calls:
        found["calls"] = calls
    found["samples"] = f"{model.image_shape}"
    if model.codec:
        found["latents"] = f"{model.shape}"
    if model.num_classes:
        names = ", ".join(model.class_names[:5]) + (", ..." if len(model.class_names) > 5 else "")
        found["classes"] = f"{model.num_classes}" + (f" ({names})" if names else "")
    if others := [spec.what for spec in model.conditions if spec.kind != "label"]:
        found["reads"] = " and ".join(others)
    count = sum(parameter.numel() for parameter in model.parameters())
    found["network"] = f"{type(model.network).__name__}, {count:,} parameters, {model.device}"
    if model.origin:
        found["from"] = model.origin
    return found


def one_line(name: str, told: Mapping[str, str]) -> str:
    """The facts in one line."""
    return f"{name}({', '.join(f'{key}: {value}' for key, value in told.items())})"
