"""Parts of a pipeline of diffusers: tokenizers and text encoders loaded, others given, left out or without weights."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import diffusers
import torch
from torch import nn

from realuid.errors import CheckpointError
from realuid.loaders.schedulers import load_scheduler
from realuid.loaders.text_parts import Counting, load_text_encoder, load_tokenizer
from realuid.models.networks.prompted import is_model
from realuid.models.saving.diffusers_weights import quiet_diffusers, read_diffusers_config
from realuid.models.saving.quiet import quiet_transformers
from realuid.models.saving.weights import on_paper
from realuid.reading import blamed

INDEX = "model_index.json"
_SCHEDULER = Path("scheduler") / "scheduler_config.json"
#: More tensors than any denoiser has whose weights are not read, and which is not run.
_MOST = 5_000
#: Names of tokenizers and text encoders, which are those of folders.
_READER = re.compile(r"(text_encoder|tokenizer)(_\w+)?")


def is_pipeline(kind: str) -> bool:
    """Whether diffusers has a pipeline of this name that is called with prompts."""
    with quiet_transformers():
        found = getattr(diffusers, kind, None) if kind in dir(diffusers) else None
    if not isinstance(found, type) or not issubclass(found, diffusers.DiffusionPipeline) or not callable(found):
        return False
    return "prompt" in inspect.signature(found.__call__).parameters


def readers(index: dict[str, Any]) -> list[str]:
    """Tokenizers and text encoders that an index names."""
    parts = {name: value for name, value in index.items() if isinstance(value, list) and len(value) == 2}
    return [name for name, value in parts.items() if _READER.fullmatch(name) and value[1]]


def assembled(folder: Path, given: dict[str, Any]) -> Any:
    """A pipeline of its text encoders, its scheduler and the parts that are given; others are left out.

    Its tokenizers are wrapped: see `Counting`.

    Raises:
        CheckpointError: where a part is missing or damaged.
    """
    index = read_diffusers_config(folder / INDEX)
    kind = str(index["_class_name"])
    parts = {name: value for name, value in index.items() if isinstance(value, list) and len(value) == 2}
    settings = {name: value for name, value in index.items() if name not in parts and not name.startswith("_")}
    loaded: dict[str, Any] = dict.fromkeys(parts)
    with quiet_diffusers(), quiet_transformers(), blamed(f"no {kind[:100]} can be made of '{folder}'"):
        for name in readers(index):
            load = load_tokenizer if name.startswith("tokenizer") else load_text_encoder
            loaded[name] = load(folder / name, str(parts[name][1]))
        if (folder / _SCHEDULER).is_file():
            settings_of = read_diffusers_config(folder / _SCHEDULER, finite=False)
            loaded["scheduler"] = load_scheduler(settings_of)
        pipeline = getattr(diffusers, kind)(**{**loaded, **given, **_known(kind, settings)})
        for name in readers(index):
            if name.startswith("tokenizer"):
                object.__setattr__(pipeline, name, Counting(loaded[name]))
        return pipeline


class Unloaded(nn.Module):
    """A denoiser without weights, as a part of a pipeline that asks it for its settings and its device.

    Args:
        model: of which it has the settings and the arguments of a call.
    """

    def __init__(self, model: Any):
        super().__init__()
        self.config, self.dtype, self.device = model.config, torch.float32, torch.device("cpu")
        self.__signature__ = inspect.signature(model.forward)

    def forward(self, *args: Any, **kwargs: Any) -> tuple[torch.Tensor]:
        """Zeros in the shape of its first argument."""
        return (torch.zeros_like(self.__signature__.bind_partial(*args, **kwargs).args[0]),)


def _known(kind: str, settings: dict[str, Any]) -> dict[str, Any]:
    taken = inspect.signature(getattr(diffusers, kind).__init__).parameters
    return {name: value for name, value in settings.items() if name in taken}


def without_weights(folder: Path) -> Any:
    """A denoiser of which only the settings are read, by pipelines that ask for widths."""
    config = read_diffusers_config(folder / "config.json")
    kind = str(config.get("_class_name"))
    if not is_model(kind):
        raise CheckpointError(f"'{folder}' is a {kind[:100]}, which is no network of diffusers.")
    with quiet_diffusers(), blamed(f"no {kind} can be made of '{folder}'"), on_paper(parameters=_MOST):
        return getattr(diffusers, kind).from_config(config)
