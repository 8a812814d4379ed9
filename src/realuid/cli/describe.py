"""What `realuid info` says about folders that realuid wrote, read from their JSON alone: torch is slow to import."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Any

from realuid.errors import RealUIDError
from realuid.files import CHECKSUMS, damage
from realuid.reading import open_regular, read_json

_CONFIG, _WEIGHTS, _RESULTS = "config.json", "model.safetensors", "results.json"
#: Far above the header of any model (a line for every tensor).
_MAX_HEADER = 64 << 20


def sound_model(path: Path) -> tuple[Path, dict[str, Any], int] | None:
    """A model folder of realuid as it was written, or the best (else the last) model of a run folder.

    Returns:
        the folder, its config.json and the number of its weights; None for anything else, damaged models among them.
    """
    folder = next((each for each in (path, path / "best", path / "model") if (each / _CONFIG).is_file()), None)
    if folder is None or not (folder / CHECKSUMS).is_file() or damage(folder):
        return None
    try:
        config = read_json(folder / _CONFIG, finite=False)
        return (folder, config, _count(folder / _WEIGHTS)) if config.get("format") == "realuid" else None
    except (RealUIDError, OSError, ValueError, KeyError, TypeError, struct.error):
        return None


def _count(weights: Path) -> int:
    """How many numbers a safetensors file holds, from its header."""
    with open_regular(weights) as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(min(length, _MAX_HEADER)))
    return sum(math.prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")


def demo_results(path: Path) -> dict[str, Any] | None:
    """The results of a demo's folder; None for another folder."""
    if not (path / _RESULTS).is_file() or not (path / "teacher").is_dir():
        return None
    try:
        results = read_json(path / _RESULTS, finite=False)
    except RealUIDError:
        return None
    return results if {"teacher", "students", "recipe", "data"} <= results.keys() else None
