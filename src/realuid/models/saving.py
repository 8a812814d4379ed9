"""realuid's own format: a folder with config.json (what it is) and model.safetensors (its weights)."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path as FilePath
from typing import Any, Protocol

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from realuid._version import __version__
from realuid.errors import CheckpointError, unknown_name
from realuid.files import atomic_folder
from realuid.models.architectures import make_network, network_config
from realuid.models.generator import Generator
from realuid.models.matching import MatchingModel
from realuid.models.preconditioning import make_preconditioning, preconditioning_config
from realuid.paths import path_from_config

CONFIG, WEIGHTS, FORMAT = "config.json", "model.safetensors", "realuid"

_NUMBERS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


def describe(model: MatchingModel | Generator) -> dict[str, Any]:
    """JSON-ready description of a model, enough to rebuild it without its weights."""
    matching = model.model if isinstance(model, Generator) else model
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
    if description["kind"] not in (kinds := ("matching_model", "generator")):
        raise CheckpointError(unknown_name("kind of model", str(description["kind"]), kinds))
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
    except (ValueError, OSError, RecursionError) as error:
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
    weights = _read(FilePath(folder) / WEIGHTS)
    try:
        with on_paper(parameters=len(weights)):
            network = make_network(**config["network"])
        prefix = "model.network." if config["kind"] == "generator" else "network."
        check_fit({prefix + name: value for name, value in network.state_dict().items()}, weights, str(folder))
        model = build(config)
    except CheckpointError:
        raise
    except Exception as error:  # the file may say anything: whatever a constructor makes of it is its fault
        raise CheckpointError(
            f"'{FilePath(folder) / CONFIG}' does not describe a model ({type(error).__name__}: {str(error)[:500]})."
        ) from error
    load_strictly(model, weights, str(folder))
    return model.eval()


def _read(path: FilePath) -> dict[str, Tensor]:
    try:
        weights = load_file(path)
    except Exception as error:  # a damaged header surfaces as SafetensorError, KeyError, ValueError or OSError
        raise CheckpointError(f"'{path}' cannot be read ({type(error).__name__}: {error}).") from error
    for name, value in weights.items():
        if value.dtype not in _NUMBERS:
            raise CheckpointError(f"'{path}': {name} is {value.dtype}, not one of {', '.join(map(str, _NUMBERS))}.")
    return weights


@contextmanager
def on_paper(parameters: int) -> Iterator[None]:
    """Networks made inside have shapes but no memory, and soon stop if they grow beyond what a file can fill.

    For settings that come from a file: a damaged number may ask for a billion blocks.

    Args:
        parameters: how many the file holds. A few times as many may be made on the way, no more.

    Raises:
        CheckpointError: when more are.
    """
    thread, limit = threading.get_ident(), itertools.count()

    def count(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        if threading.get_ident() == thread and next(limit) > 4 * parameters + 16:
            raise CheckpointError(
                f"the settings describe a network far larger than the {parameters} tensors beside them."
            )

    hook = register_module_parameter_registration_hook(count)
    try:
        with torch.device("meta"):
            yield
    finally:
        hook.remove()


class Shaped(Protocol):
    """Anything with a shape."""

    @property
    def shape(self) -> tuple[int, ...]: ...


def check_fit(own: Mapping[str, Shaped], weights: Mapping[str, Shaped], where: str) -> None:
    """Compare names and shapes of a module's state with those of weights it is to take.

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


def load_strictly(module: nn.Module, weights: dict[str, Tensor], where: str) -> None:
    """Load weights that must fit exactly; otherwise say readably how they differ.

    Raises:
        CheckpointError: as in `check_fit`.
    """
    check_fit(module.state_dict(), weights, where)
    module.load_state_dict(weights)
