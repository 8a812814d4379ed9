"""Settings of an adapter (LoRA) from untrusted files: what its weights do not say, and nothing that runs or searches.

PEFT takes names of layers for regular expressions, which may match for years, imports modules that settings name, and
makes matrices of the ranks that they state. Here layers and ranks are those of the weights, and settings only scale.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from peft import LoraConfig
from torch import Tensor

from realuid.errors import CheckpointError

#: Settings that change what the weights do.
_READ = ("r", "lora_alpha", "rank_pattern", "alpha_pattern", "use_rslora", "use_dora", "lora_bias", "fan_in_fan_out")
#: Settings of training, of how weights were drawn and where they were found, or which layers and ranks say, too.
_UNREAD = (
    *("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "modules_to_save", "bias"),
    *("lora_dropout", "task_type", "auto_mapping", "base_model_name_or_path", "revision", "inference_mode"),
    *("peft_version", "loftq_config", "eva_config", "corda_config", "lora_ga_config", "runtime_config"),
    *("init_lora_weights", "megatron_core", "ensure_weight_tying", "qalora_group_size", "peft_type"),
)
#: Initialisations that change the weights below the adapter.
_CHANGING = ("pissa", "olora", "corda", "loftq", "lora_ga")
_NAME = re.compile(r"\^?[\w.-]+")
_A = re.compile(r"(?P<layer>.+)\.lora_A\.weight")


def settings_of(weights: Mapping[str, Tensor], settings: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Arguments of `LoraConfig` for an adapter's weights.

    Args:
        weights: with PEFT's names, LAYER.lora_A.weight and so on.
        settings: beside them, as PEFT writes them; 'lora_alpha' may be missing, which leaves products as they are.
        where: they are from, for messages.

    Raises:
        CheckpointError: where they do not fit the weights, or ask for more than a low-rank adapter.
    """
    _refuse_others(settings, where)
    ranks = {match["layer"]: len(value) for name, value in weights.items() if (match := _A.fullmatch(name))}
    if empty := [name for name, value in weights.items() if value.numel() == 0]:
        raise CheckpointError(f"the adapter '{where}' holds a tensor without numbers, {empty[0][:100]}.")
    if not ranks:
        raise CheckpointError(f"the adapter '{where}' holds no low-rank matrices (lora_A.weight).")
    if "r" in settings:
        for layer, rank in _by_layer(settings, "rank_pattern", "r", ranks, where).items():
            if rank != ranks[layer]:
                raise CheckpointError(
                    f"the adapter '{where}' says rank {rank} of {layer[:100]}, but its weights have {ranks[layer]}."
                )
    alphas = _by_layer(settings, "alpha_pattern", "lora_alpha", ranks, where) if "lora_alpha" in settings else ranks
    found: dict[str, Any] = {name: settings.get(name) is True for name in _READ[4:]}
    found |= dict(zip(("r", "rank_pattern"), _pattern(ranks), strict=True))
    found |= dict(zip(("lora_alpha", "alpha_pattern"), _pattern(alphas), strict=True))
    return {**found, "target_modules": "|".join(map(re.escape, sorted(ranks)))}


def _refuse_others(settings: Mapping[str, Any], where: str) -> None:
    kind = settings.get("peft_type", "LORA")
    if kind != "LORA":
        raise CheckpointError(f"the adapter '{where}' is a {str(kind)[:50]}. Supported is LORA.")
    start = str(settings.get("init_lora_weights")).lower()
    if start.startswith(_CHANGING):
        raise CheckpointError(
            f"the adapter '{where}' was started by {start[:50]}, which changes the weights of its base. Convert it to "
            "a plain LoRA with PEFT."
        )
    defaults = {field.name: field.default for field in dataclasses.fields(LoraConfig)}
    for name, value in settings.items():
        if name not in (*_READ, *_UNREAD) and value and value != defaults.get(name):
            raise CheckpointError(f"the adapter '{where}' has the setting {name[:50]}, which is not supported here.")


def _by_layer(
    settings: Mapping[str, Any], pattern: str, name: str, layers: Iterable[str], where: str
) -> dict[str, float]:
    """A setting of every layer: of the first entry of a pattern that ends its name, or the one of all."""
    whole, special = settings[name], settings.get(pattern) or {}
    if not (isinstance(special, Mapping) and all(_NAME.fullmatch(str(key)) for key in special)):
        raise CheckpointError(f"the adapter '{where}': {pattern} does not say names of layers and numbers.")
    for number in (whole, *special.values()):
        if isinstance(number, bool) or not isinstance(number, int | float) or not _is_moderate(number):
            raise CheckpointError(f"the adapter '{where}': {name} = {str(number)[:50]} is no number that can be used.")
    places = {key: (place, value) for place, (key, value) in enumerate(special.items())}
    found = {}
    for layer in layers:
        parts = layer.split(".")
        ends = ("^" + layer, *(".".join(parts[i:]) for i in range(len(parts))))
        found[layer] = min((places[end] for end in ends if end in places), default=(0, whole))[1]
    return found


def _is_moderate(number: float) -> bool:
    """Whether it is between limits far beyond any rank or alpha (and no integer of hundreds of digits)."""
    return -1e9 < number < 1e9 and math.isfinite(number)


def _pattern(values: Mapping[str, float]) -> tuple[float, dict[str, float]]:
    """The most common number, and the layers with others, by regular expressions that match only them."""
    usual = Counter(values.values()).most_common(1)[0][0]
    return usual, {f"^{re.escape(layer)}": value for layer, value in values.items() if value != usual}
