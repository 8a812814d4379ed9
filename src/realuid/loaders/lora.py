"""Adapters (LoRA) of other libraries, merged into the denoiser that they change: a fine-tune given as BASE+ADAPTER."""

from __future__ import annotations

import inspect
import re
from collections import Counter
from pathlib import Path
from typing import Any

import diffusers
from diffusers.utils import convert_unet_state_dict_to_peft
from peft import LoraConfig, PeftModel, set_peft_model_state_dict
from safetensors import safe_open
from torch import Tensor, nn

from realuid.errors import CheckpointError
from realuid.loaders.adapter_settings import settings_of
from realuid.loaders.formats import local_path
from realuid.models.networks.interfaces import INTERFACES, Interface
from realuid.models.networks.prompted import PromptNetwork
from realuid.models.saving.diffusers_weights import quiet_diffusers, read_weight_file
from realuid.models.saving.weights import read_weights
from realuid.reading import blamed, parse_json, read_json

#: Names of weights in a folder: diffusers', PEFT's.
_FILES = ("pytorch_lora_weights.safetensors", "adapter_model.safetensors")
_PEFT, _HEADER = "adapter_config.json", "lora_adapter_metadata"
#: What follows the name of a layer in the names of an adapter's weights.
_ENDS = re.compile(r"\.(lora_[AB]|lora_magnitude_vector|lora)(\..*)?$")


def merge_adapter(network: PromptNetwork, source: str) -> None:
    """Add a low-rank adapter to the weights of a denoiser, in place.

    Args:
        network: of a text-to-image pipeline.
        source: file, folder or Hub id of an adapter in the format of diffusers, of kohya (read through diffusers) or of
            PEFT.

    Raises:
        CheckpointError: where it is missing or damaged, or changes another architecture or a text encoder.
    """
    place = local_path(source)
    file = _file(place, source)
    interface = INTERFACES[network.settings["pipeline"]]
    denoiser: Any = network.denoiser
    with blamed(f"the adapter '{source}' cannot be merged"), quiet_diffusers():
        if (file.parent / _PEFT).is_file():
            weights, settings = read_weights(file), read_json(file.parent / _PEFT, finite=False)
            weights = {name.removeprefix("base_model.model."): value for name, value in weights.items()}
        else:
            weights, settings = _read_diffusers(file, source, interface)
        _check_layers(denoiser, list(weights), source)
        model = PeftModel(denoiser, LoraConfig(**settings_of(weights, settings, source)))
        told: Any = set_peft_model_state_dict(model, {f"base_model.model.{name}": v for name, v in weights.items()})
        lost = [*told.unexpected_keys, *(name for name in told.missing_keys if "lora_" in name)]
        if lost:
            raise CheckpointError(f"the adapter '{source}' is incomplete or damaged, for instance at {lost[0][:200]}.")
        merged: Any = model.merge_and_unload(safe_merge=True)
        assert merged is denoiser, "layers are replaced in place"
    denoiser.requires_grad_(True).eval()


def _file(place: Path, source: str) -> Path:
    """The file of an adapter's weights."""
    if place.is_file():
        return place
    found = [place / name for name in _FILES if (place / name).is_file()] or sorted(place.glob("*.safetensors"))
    if len(found) != 1:
        raise CheckpointError(
            f"'{source}' holds {len(found) or 'no'} files of an adapter's weights: needed is {' or '.join(_FILES)}, or "
            "pass the file."
        )
    return found[0]


def _read_diffusers(file: Path, source: str, interface: Interface) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Weights under PEFT's names, and settings, of a file of diffusers, or of one that it knows how to convert."""
    pipeline = getattr(diffusers, interface.pipelines[0])
    if not hasattr(pipeline, "lora_state_dict"):
        raise CheckpointError(
            f"'{source}' is no adapter of PEFT, and diffusers has no format for adapters of a {interface.denoiser}: "
            f"pass a folder with {_PEFT}."
        )
    read = pipeline.lora_state_dict(read_weight_file(file), **_asked(pipeline))
    weights, *more = read if isinstance(read, tuple) else (read,)
    if others := sorted({name.partition(".")[0] for name in weights} - {interface.folder}):
        raise CheckpointError(
            f"the adapter '{source}' changes {', '.join(o[:50] for o in others[:3])}; a teacher's adapter may change "
            f"its {interface.folder} only."
        )
    weights = {name.removeprefix(f"{interface.folder}."): value for name, value in weights.items()}
    if not any("lora_A" in name for name in weights):
        weights = convert_unet_state_dict_to_peft(weights)
    weights = {name.replace(".processor.", "."): value for name, value in weights.items()}
    settings = _stated(file, interface.folder)
    if not settings and (alphas := next((m for m in more if m), None)):
        by_layer = {_layer(name, interface.folder): float(value) for name, value in alphas.items()}
        usual = Counter(by_layer.values()).most_common(1)[0][0]
        settings = {"lora_alpha": usual, "alpha_pattern": {f"^{name}": value for name, value in by_layer.items()}}
    settings.setdefault("use_dora", any("lora_magnitude_vector" in name for name in weights))
    settings.setdefault("lora_bias", any(name.endswith("lora_B.bias") for name in weights))
    return weights, settings


def _stated(file: Path, folder: str) -> dict[str, Any]:
    """The settings that diffusers writes into the header of a file: those of the denoiser."""
    if file.suffix != ".safetensors":
        return {}
    with safe_open(file, "pt") as opened:
        text = (opened.metadata() or {}).get(_HEADER)
    stated = parse_json(text, f"{_HEADER} of '{file}'", finite=False) if text else {}
    return {name.removeprefix(f"{folder}."): value for name, value in stated.items() if name.startswith(f"{folder}.")}


def _layer(name: str, folder: str) -> str:
    """The layer that an alpha is of."""
    return name.removeprefix(f"{folder}.").removesuffix(".alpha").partition(".lora")[0].replace(".processor", "")


def _asked(pipeline: Any) -> dict[str, bool]:
    """The argument for alphas, where a format has them."""
    taken = inspect.signature(pipeline.lora_state_dict).parameters
    return {"return_alphas": True} if "return_alphas" in taken else {}


def _check_layers(denoiser: nn.Module, names: list[str], source: str) -> None:
    """Raise CheckpointError unless an adapter's weights are for layers that the denoiser has."""
    layers = {name for name, _ in denoiser.named_modules()}
    changed = {_ENDS.sub("", name).replace(".processor", "") for name in names if not name.endswith(".alpha")}
    missing = sorted(changed - layers)
    if not changed:
        raise CheckpointError(f"the adapter '{source}' is empty.")
    if missing:
        raise CheckpointError(
            f"the adapter '{source}' is of another architecture: the {type(denoiser).__name__} lacks {len(missing)} of "
            f"its {len(changed)} layers, for instance {missing[0]}."
        )
