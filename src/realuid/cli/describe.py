"""What `realuid info` says about folders that realuid wrote, read from their JSON alone: torch is slow to import."""

from __future__ import annotations

import json
import math
import os
import struct
import zipfile
from pathlib import Path
from typing import Any

from realuid.errors import RealUIDError
from realuid.files import CHECKSUMS, damage
from realuid.reading import open_regular, read_json

#: Names of data sets that may also be names of recipes: both are described.
NAMED_SOURCES = ("digits", "coloured-digits", "coloured-digits:held-out")
#: Ends of names of files in which models are kept, and files of that kind that belong to data.
_OF_MODELS = (".json", ".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".pkl", ".onnx", ".pt2", ".yaml", ".arrow")
_OF_DATA = ("dataset.json",)
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


def is_plain_data(source: str) -> bool:
    """Whether a name is plainly that of data, so that no loader of models, slow to import, has to be asked.

    Bundled data, an archive, or a folder without a file in which models are kept, also one level down.
    """
    path = Path(source)
    if source in NAMED_SOURCES or source.startswith(("toy:", "hf:")):
        return True
    if not path.is_dir():
        return path.suffix == ".zip" and _holds_no_pickle(path)
    try:
        folders = (path, *filter(Path.is_dir, path.iterdir()))
        names = [entry.name for folder in folders for entry in os.scandir(folder)]
    except OSError:  # the loaders say what cannot be read
        return False
    return bool(names) and not any(name.endswith(_OF_MODELS) and name not in _OF_DATA for name in names)


def _holds_no_pickle(path: Path) -> bool:
    """Whether a file is an archive other than torch's, which holds a pickle."""
    try:
        with zipfile.ZipFile(path) as archive:
            return not any(name.endswith(".pkl") for name in archive.namelist())
    except Exception:  # damaged directories raise nearly every type
        return False


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
