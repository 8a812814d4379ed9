"""Adapters (LoRA) of other libraries, merged into the denoiser that they change: a fine-tune given as BASE+ADAPTER."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import diffusers
from diffusers.utils import convert_unet_state_dict_to_peft
from torch import nn

from realuid.errors import CheckpointError
from realuid.loaders.formats import local_path
from realuid.models.networks.interfaces import INTERFACES, Interface
from realuid.models.networks.prompted import PromptNetwork
from realuid.models.saving.diffusers_weights import quiet_diffusers
from realuid.models.saving.weights import read_weights

#: Names of weights in a folder: diffusers', PEFT's.
_FILES = ("pytorch_lora_weights.safetensors", "adapter_model.safetensors")
_PEFT = "adapter_config.json"
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
    try:
        with quiet_diffusers():
            if (file.parent / _PEFT).is_file():
                _merge_peft(denoiser, file, source)
            else:
                _merge_diffusers(denoiser, file, source, interface)
    except CheckpointError:
        raise
    except Exception as error:  # files may say anything; PEFT and diffusers raise nearly every type
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(f"the adapter '{source}' cannot be merged ({reason}).") from error
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


def _merge_peft(denoiser: nn.Module, file: Path, source: str) -> None:
    from peft import PeftModel

    names = [name.removeprefix("base_model.model.") for name in read_weights(file)]
    _check_layers(denoiser, names, source)
    merged = PeftModel.from_pretrained(denoiser, file.parent).merge_and_unload(safe_merge=True)  # type: ignore[arg-type]
    assert merged is denoiser, "layers are replaced in place"


def _merge_diffusers(denoiser: Any, file: Path, source: str, interface: Interface) -> None:
    pipeline = getattr(diffusers, interface.pipelines[0])
    if not hasattr(pipeline, "lora_state_dict"):
        raise CheckpointError(
            f"'{source}' is no adapter of PEFT, and diffusers has no format for adapters of a {interface.denoiser}: "
            f"pass a folder with {_PEFT}."
        )
    read = pipeline.lora_state_dict(file.parent, weight_name=file.name, local_files_only=True, **_asked(pipeline))
    weights, *more = read if isinstance(read, tuple) else (read,)
    alphas = next((m for m in more if m and not any("lora_alpha" in name for name in m)), None)
    metadata = next((m for m in more if m and any("lora_alpha" in name for name in m)), None)
    if others := sorted({name.partition(".")[0] for name in weights} - {interface.folder}):
        raise CheckpointError(
            f"the adapter '{source}' changes {', '.join(o[:50] for o in others[:3])}; a teacher's adapter may change "
            f"its {interface.folder} only."
        )
    names = weights if any("lora_A" in name for name in weights) else convert_unet_state_dict_to_peft(weights)
    _check_layers(denoiser, [name.partition(".")[2] for name in names], source)
    denoiser.load_lora_adapter(
        weights, prefix=interface.folder, network_alphas=None if metadata else alphas, metadata=metadata
    )
    denoiser.fuse_lora(safe_fusing=True)
    denoiser.unload_lora()


def _asked(pipeline: Any) -> dict[str, bool]:
    """Arguments for all that a format holds: alphas, or metadata that says them."""
    import inspect

    taken = inspect.signature(pipeline.lora_state_dict).parameters
    return {"return_lora_metadata": True, **({"return_alphas": True} if "return_alphas" in taken else {})}


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
