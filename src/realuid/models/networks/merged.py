"""The adapter that a network's weights contain: kept beside them, to be exported as a LoRA file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from realuid.errors import CheckpointError
from realuid.models.saving.weights import apart, read_weights
from realuid.reading import is_finite, parse_json

_HEADER = "realuid"


@dataclass(frozen=True)
class Merged:
    """W + (alpha / rank) B A of every adapted layer, with names as PEFT writes them: 'LAYER.lora_A.weight'.

    Attributes:
        weights: A and B by name, float32, on the CPU; of DoRA also 'LAYER.lora_magnitude_vector.weight'.
        rank, alpha: of all layers.
        dora: whether the columns' norms are adapted, too.
    """

    weights: dict[str, Tensor]
    rank: int
    alpha: float
    dora: bool = False

    def save(self, path: Path) -> None:
        """Write it as a safetensors file."""
        about = {"rank": self.rank, "alpha": self.alpha, "dora": self.dora}
        save_file(apart(self.weights), path, {_HEADER: json.dumps(about)})

    @property
    def layers(self) -> list[str]:
        """Names of the adapted layers."""
        return [name.removesuffix(".lora_A.weight") for name in self.weights if name.endswith(".lora_A.weight")]


def read_merged(path: Path) -> Merged:
    """The adapter in a file that `Merged.save` wrote.

    Raises:
        CheckpointError: where it is damaged.
    """
    weights = read_weights(path)
    try:
        with safe_open(path, framework="pt") as file:
            about: dict[str, Any] = parse_json((file.metadata() or {})[_HEADER], str(path), finite=False)
        rank, alpha, dora = about["rank"], about["alpha"], about["dora"]
        if type(rank) is not int or rank < 1 or type(dora) is not bool or not is_finite(alpha) or not alpha > 0:
            raise ValueError(f"rank = {rank}, alpha = {alpha}, dora = {dora}")
        return Merged(weights, rank, float(alpha), dora)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"'{path}' is damaged: it does not say what adapter it holds ({error}).") from error
