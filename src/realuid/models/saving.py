"""realuid's own format: a folder with config.json (what it is) and model.safetensors (its weights).

Tensors that an import brought along and no network uses are kept beside them in unused.safetensors.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from realuid._version import __version__
from realuid.errors import CheckpointError
from realuid.files import atomic_folder
from realuid.models.generator import Generator
from realuid.models.matching import MatchingModel
from realuid.models.networks import make_network, network_config
from realuid.models.preconditioning import make_preconditioning, preconditioning_config
from realuid.paths import path_from_config

CONFIG, WEIGHTS, UNUSED, FORMAT = "config.json", "model.safetensors", "unused.safetensors", "realuid"


def _matching(model: MatchingModel | Generator) -> MatchingModel:
    return model.model if isinstance(model, Generator) else model


def describe(model: MatchingModel | Generator) -> dict[str, Any]:
    """JSON-ready description of a model, enough to rebuild it without its weights."""
    matching = _matching(model)
    description = {
        "format": FORMAT,
        "version": __version__,
        "kind": "generator" if isinstance(model, Generator) else "matching_model",
        "path": matching.path.to_config(),
        "prediction": matching.prediction,
        "preconditioning": preconditioning_config(matching.preconditioning),
        "network": network_config(matching.network),
    }
    if isinstance(model, Generator):
        description["t_init"] = model.t_init
    return description


def build(description: dict[str, Any]) -> MatchingModel | Generator:
    """The model a description stands for, with fresh random weights."""
    matching = MatchingModel(
        network=make_network(**description["network"]),
        path=path_from_config(description["path"]),
        prediction=description["prediction"],
        preconditioning=make_preconditioning(**description["preconditioning"]),
    )
    return Generator(matching, description["t_init"]) if description["kind"] == "generator" else matching


def save_pretrained(model: MatchingModel | Generator, folder: str | FilePath, **extra: Any) -> FilePath:
    """Write a model to a folder, all of it or nothing.

    Args:
        model: teacher, fake model or generator.
        folder: created, or replaced if it is there.
        **extra: further sections of config.json, for instance how the model was trained.
    """
    folder = FilePath(folder)
    with atomic_folder(folder) as temporary:
        (temporary / CONFIG).write_text(json.dumps({**describe(model), **extra}, indent=2) + "\n")
        save_file({name: value.contiguous() for name, value in model.state_dict().items()}, temporary / WEIGHTS)
        if unused := _matching(model).network.unused:
            save_file(unused, temporary / UNUSED)
    return folder


def read_config(folder: str | FilePath) -> dict[str, Any]:
    """config.json of a realuid model folder.

    Raises:
        CheckpointError: where the folder or the file is missing, unreadable or of another format.
    """
    path = FilePath(folder) / CONFIG
    if not path.is_file():
        raise CheckpointError(f"no model in '{folder}': {CONFIG} is missing. Pass a folder that realuid wrote.")
    try:
        config = json.loads(path.read_text())
    except ValueError as error:
        raise CheckpointError(f"'{path}' is not valid JSON ({error}).") from error
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise CheckpointError(f'\'{path}\' was not written by realuid (no "format": "{FORMAT}").')
    return config


def from_pretrained(folder: str | FilePath) -> MatchingModel | Generator:
    """Read a model from a folder that `save_pretrained` wrote, in evaluation mode on the CPU.

    Raises:
        CheckpointError: where something is missing, damaged or does not fit.
    """
    config = read_config(folder)
    try:
        model = build(config)
    except KeyError as error:
        raise CheckpointError(f"'{FilePath(folder) / CONFIG}' lacks the entry {error}.") from error
    load_strictly(model, _read(FilePath(folder) / WEIGHTS), str(folder))
    if (FilePath(folder) / UNUSED).exists():
        _matching(model).network.unused = _read(FilePath(folder) / UNUSED)
    return model.eval()


def _read(path: FilePath) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"'{path}' cannot be read ({error}).") from error


def load_strictly(module: nn.Module, weights: dict[str, Tensor], where: str) -> None:
    """Load weights that must fit exactly; `check_weights` says how they differ."""
    check_weights(module.state_dict(), weights, where)
    module.load_state_dict(weights)


def check_weights(own: Mapping[str, Tensor], weights: Mapping[str, Tensor], where: str) -> None:
    """Compare the names and shapes of weights with those a network has.

    Raises:
        CheckpointError: naming up to three tensors of each kind: missing, unexpected, of another shape.
    """
    shapes = [
        f"{name} is {tuple(weights[name].shape)}, needed {tuple(own[name].shape)}"
        for name in own.keys() & weights.keys()
        if own[name].shape != weights[name].shape
    ]
    differences = [
        f"{len(names)} {kind}: {', '.join(sorted(names)[:3])}{', ...' if len(names) > 3 else ''}"
        for kind, names in (
            ("missing", own.keys() - weights.keys()),
            ("unexpected", weights.keys() - own.keys()),
            ("of another shape", shapes),
        )
        if names
    ]
    if differences:
        raise CheckpointError(f"weights in '{where}' are of another model ({'; '.join(differences)}).")
