"""The mathematics of x_t: coefficients, targets, conversions between predictions. Pure, no I/O.

A new matching model needs one file here and one line in `PATHS`, or one entry point of another package.
"""

from __future__ import annotations

from typing import Any

from realuid.errors import ConfigError, unknown_name
from realuid.paths.base import Coefficients, Path, PinnedPath, broadcast
from realuid.paths.bridge import BrownianBridge, I2SBBridge, VEBridge, VPBridge
from realuid.paths.conversions import Estimate, convert, error_ratio
from realuid.paths.flow import LinearPath, TrigonometricPath
from realuid.paths.installed import GROUP, installed_path
from realuid.paths.interpolant import InterpolantPath
from realuid.paths.predictions import PREDICTIONS, STACKED, check_prediction, heads, target
from realuid.paths.times import TIMES, check_times, phase_bounds, sample_times, stratified
from realuid.paths.ve import VEPath
from realuid.paths.vp import CosinePath, DDPMPath, VPPath
from realuid.settings import typed

_FLOWS = (LinearPath, TrigonometricPath)
_DIFFUSIONS = (VPPath, CosinePath, DDPMPath, VEPath)
_BRIDGES = (BrownianBridge, I2SBBridge, VPBridge, VEBridge)

PATHS: dict[str, type[Path]] = {path.name: path for path in (*_FLOWS, *_DIFFUSIONS, *_BRIDGES, InterpolantPath)}


def path_class(name: str) -> type[Path]:
    """The class of the path called `name`: one of `PATHS`, or of an installed package that declares it."""
    if name not in PATHS:
        if (found := installed_path(name)) is None:
            one_of_yours = f" A path of your own is found by its entry point '{GROUP}' (docs/guides/new-path.md)."
            raise ConfigError(unknown_name("path", name, PATHS) + one_of_yours)
        PATHS[name] = found
    return PATHS[name]


def make_path(name: str, **settings: Any) -> Path:
    """The path called `name`, with its own settings (for instance a bridge's noise level)."""
    kind = path_class(name)
    return kind(**typed(kind, f"path '{name}'", settings))


def path_from_config(config: dict) -> Path:
    """Read back what `Path.to_config` wrote."""
    return make_path(**config)


__all__ = [
    "PATHS",
    "PREDICTIONS",
    "STACKED",
    "TIMES",
    "BrownianBridge",
    "Coefficients",
    "CosinePath",
    "DDPMPath",
    "Estimate",
    "I2SBBridge",
    "InterpolantPath",
    "LinearPath",
    "Path",
    "PinnedPath",
    "TrigonometricPath",
    "VEBridge",
    "VEPath",
    "VPBridge",
    "VPPath",
    "broadcast",
    "check_prediction",
    "check_times",
    "convert",
    "error_ratio",
    "heads",
    "make_path",
    "path_class",
    "path_from_config",
    "phase_bounds",
    "sample_times",
    "stratified",
    "target",
]
