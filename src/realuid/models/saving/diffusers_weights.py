"""Models in diffusers' own format, loaded exactly or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

import torch
from diffusers import ModelMixin
from safetensors import safe_open

from realuid.errors import CheckpointError
from realuid.models.saving.weights import on_paper

M = TypeVar("M", bound=ModelMixin)


def read_diffusers_config(path: Path) -> dict[str, Any]:
    """A JSON file of diffusers.

    Raises:
        CheckpointError: where it is missing or damaged.
    """
    try:
        config = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"'{path}' cannot be read as JSON ({error}).") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"'{path}' holds a {type(config).__name__}, not a dictionary.")
    return config


def load_diffusers_model(kind: type[M], folder: Path) -> M:
    """A model of diffusers, float32, in evaluation mode; unlike diffusers itself, refusing weights that are incomplete.

    Raises:
        CheckpointError: where config or weights are missing, damaged or do not fit.
    """
    try:
        with on_paper(parameters=_tensors(folder)):
            kind.from_config(read_diffusers_config(folder / "config.json"))
        model, report = kind.from_pretrained(
            folder, local_files_only=True, output_loading_info=True, torch_dtype=torch.float32
        )
    except CheckpointError:
        raise
    except Exception as error:  # files may say anything; diffusers raises nearly every type
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(f"no {kind.__name__} can be loaded from '{folder}' ({reason}).") from error
    wrong = {name: report[name] for name in ("missing_keys", "unexpected_keys", "mismatched_keys") if report[name]}
    if wrong:
        found = "; ".join(f"{len(v)} {k.removesuffix('_keys')}: {', '.join(map(str, v[:3]))}" for k, v in wrong.items())
        raise CheckpointError(f"weights in '{folder}' are of another model ({found}).")
    return model.eval()


def _tensors(folder: Path) -> int:
    """How many tensors the weights hold, of which the settings beside them may not ask for many more."""
    counts = []
    for file in folder.glob("*.safetensors"):
        with safe_open(file, framework="pt") as weights:
            counts.append(len(weights.keys()))
    for file in folder.glob("*.bin"):
        counts.append(len(torch.load(file, map_location="cpu", weights_only=True, mmap=True)))
    if not counts:
        raise CheckpointError(f"no weights in '{folder}': expected a .safetensors or a .bin file.")
    return sum(counts)
