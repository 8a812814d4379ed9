"""realuid: distil matching models (flow, diffusion, bridge, interpolant) into generators of one step or a few.

import realuid

teacher = realuid.train("digits", "runs/teacher")
student = realuid.distill(teacher, "digits", alpha=0.96, beta=0.98)
images = realuid.sample(student, 64)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from realuid._version import __version__

if TYPE_CHECKING:
    from realuid.api import (
        check_teacher,
        distill,
        evaluate,
        export,
        load_dataset,
        load_generator,
        load_model,
        load_teacher,
        sample,
        train,
    )
    from realuid.models import Condition, Generator, MatchingModel, NetworkConfig, Student, Teacher
    from realuid.training import DistillConfig, TeacherConfig

#: Public name -> module; imported on first use, so that `realuid --help` is quick.
_HOMES = {
    **dict.fromkeys(
        (
            *("train", "distill", "sample", "evaluate", "export", "check_teacher"),
            *("load_dataset", "load_generator", "load_model", "load_teacher"),
        ),
        "realuid.api",
    ),
    **dict.fromkeys(
        ("Condition", "Generator", "MatchingModel", "NetworkConfig", "Student", "Teacher"), "realuid.models"
    ),
    **dict.fromkeys(("DistillConfig", "TeacherConfig"), "realuid.training"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'realuid' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*_HOMES, "__version__"])


__all__ = [
    "Condition",
    "DistillConfig",
    "Generator",
    "MatchingModel",
    "NetworkConfig",
    "Student",
    "Teacher",
    "TeacherConfig",
    "__version__",
    "check_teacher",
    "distill",
    "evaluate",
    "export",
    "load_dataset",
    "load_generator",
    "load_model",
    "load_teacher",
    "sample",
    "train",
]
