"""The mathematics of x_t: coefficients, targets and prediction conversions. Pure, no I/O.

A new matching model is one file here and one line in `PATHS`.
"""

from __future__ import annotations

import dataclasses

from realuid.errors import ConfigError, unknown_name
from realuid.paths.base import Coefficients, Path, broadcast
from realuid.paths.flow import LinearPath, TrigonometricPath
from realuid.paths.predictions import PREDICTIONS, check_prediction, convert, target
from realuid.paths.ve import VEPath

PATHS: dict[str, type[Path]] = {path.name: path for path in (LinearPath, TrigonometricPath, VEPath)}


def make_path(name: str, **settings: float) -> Path:
    """The path called `name`, with its own settings (for instance a bridge's noise level)."""
    if name not in PATHS:
        raise ConfigError(unknown_name("path", name, PATHS))
    allowed = [field.name for field in dataclasses.fields(PATHS[name])]
    for key in settings:
        if key not in allowed:
            raise ConfigError(f"path '{name}' has no setting '{key}'. Allowed: {', '.join(allowed) or 'none'}.")
    return PATHS[name](**settings)


def path_from_config(config: dict) -> Path:
    """Read back what `Path.to_config` wrote."""
    return make_path(**config)


__all__ = [
    "PATHS",
    "PREDICTIONS",
    "Coefficients",
    "LinearPath",
    "Path",
    "TrigonometricPath",
    "VEPath",
    "broadcast",
    "check_prediction",
    "convert",
    "make_path",
    "path_from_config",
    "target",
]
