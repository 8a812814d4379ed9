"""Parts of a pipeline of diffusers: tokenizers and text encoders loaded, others given, left out or without weights."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import diffusers
import torch
from accelerate import init_empty_weights
from torch import nn

from realuid.errors import CheckpointError, ConfigError
from realuid.models.networks.prompted import is_model
from realuid.models.saving.diffusers_weights import quiet_diffusers, read_diffusers_config
from realuid.models.saving.quiet import quiet_transformers

INDEX = "model_index.json"
_SCHEDULER = Path("scheduler") / "scheduler_config.json"
#: Weights of a text encoder in one file, or the index of several, with a variant.
_WEIGHTS = re.compile(
    r"(?:pytorch_)?model(?:\.(?P<variant>\w+))?\.(?:safetensors|bin)(?:\.index(?:\.(?P<other>\w+))?\.json)?"
)


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
    return [name for name, value in parts.items() if name.startswith(("text_encoder", "tokenizer")) and value[1]]


def assembled(folder: Path, given: dict[str, Any]) -> Any:
    """A pipeline of its text encoders, its scheduler and the parts that are given; others are left out.

    Raises:
        CheckpointError: where a part is missing or damaged.
    """
    index = read_diffusers_config(folder / INDEX)
    kind = str(index["_class_name"])
    parts = {name: value for name, value in index.items() if isinstance(value, list) and len(value) == 2}
    settings = {name: value for name, value in index.items() if name not in parts and not name.startswith("_")}
    loaded: dict[str, Any] = dict.fromkeys(parts)
    with quiet_diffusers(), quiet_transformers():
        loaded |= {name: _load(folder / name, str(parts[name][1])) for name in readers(index)}
        if (folder / _SCHEDULER).is_file():
            settings_of = read_diffusers_config(folder / _SCHEDULER, finite=False)
            loaded["scheduler"] = _scheduler(str(settings_of.get("_class_name"))).from_config(settings_of)
        return getattr(diffusers, kind)(**{**loaded, **given, **_known(kind, settings)})


def _scheduler(name: str) -> Any:
    found = getattr(diffusers, name, None) if name in dir(diffusers) else None
    if not (isinstance(found, type) and issubclass(found, diffusers.SchedulerMixin)):
        raise CheckpointError(f"'{name[:100]}' is no scheduler of diffusers.")
    return found


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
    with quiet_diffusers(), init_empty_weights(include_buffers=True):
        return getattr(diffusers, kind).from_config(config)


def _load(folder: Path, class_name: str) -> Any:
    """A tokenizer or a text encoder of transformers.

    Raises:
        ConfigError: without transformers.
        CheckpointError: where it is damaged, or weights are missing.
    """
    try:
        import transformers
    except ImportError as error:
        raise ConfigError(f"the text encoders of '{folder}' need the extra: pip install 'realuid[text]'.") from error
    kind: Any = getattr(transformers, class_name, None)
    if kind is None:
        raise CheckpointError(f"'{folder}' is a {class_name[:100]}, which is no class of transformers.")
    try:
        if "tokenizer" in folder.name:
            return kind.from_pretrained(folder, local_files_only=True)
        how = {"local_files_only": True, "output_loading_info": True, "variant": _variant(folder)}
        model, report = kind.from_pretrained(folder, **how)
    except Exception as error:  # files may say anything; transformers raises nearly every type
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(f"no {class_name} can be loaded from '{folder}' ({reason}).") from error
    if lacking := sorted(report["missing_keys"]):
        raise CheckpointError(
            f"weights in '{folder}' are incomplete: {len(lacking)} missing, for instance {lacking[0]}."
        )
    return model.eval().requires_grad_(False)


def _variant(folder: Path) -> str | None:
    """The variant of weights, such as fp16, where a folder holds none without."""
    names = [path.name for path in folder.iterdir()]
    found = {m["variant"] or m["other"] for name in names if (m := _WEIGHTS.fullmatch(name))}
    return None if None in found or not found else str(min(found))
