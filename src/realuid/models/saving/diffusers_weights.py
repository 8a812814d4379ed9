"""Models in diffusers' own format, loaded exactly or not at all.

diffusers' `from_pretrained` fills what is missing with random numbers, follows file names out of the folder, unpickles
and draws progress bars. Here its classes are only built from their settings; the weights are read by our own readers.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from accelerate import init_empty_weights
from diffusers import ModelMixin
from torch import Tensor

from realuid.compat import rename_old_attention
from realuid.errors import CheckpointError
from realuid.models.saving.torch_file import read_torch_file
from realuid.models.saving.weights import check_size, check_weights, on_paper, read_weights
from realuid.reading import blamed, read_json

M = TypeVar("M", bound=ModelMixin)

_STEM = "diffusion_pytorch_model"
#: Weights in one file, or the index of several (shards), with the name of a variant such as fp16.
_WHOLE = re.compile(rf"{_STEM}(?:\.(?P<variant>[\w-]+?))?\.(?P<kind>safetensors|bin)")
_INDEX = re.compile(rf"{_STEM}\.(?P<kind>safetensors|bin)\.index(?:\.(?P<variant>[\w-]+))?\.json")
_SHARD = re.compile(r"[\w-][\w.-]*\.(safetensors|bin)")


def read_diffusers_config(path: Path, *, finite: bool = True) -> dict[str, Any]:
    """A JSON file of diffusers.

    Args:
        path: of the file.
        finite: refuse infinities, which schedulers may have.

    Raises:
        CheckpointError: where it is missing or damaged.
    """
    return read_json(path, finite=finite)


def load_diffusers_model(
    kind: type[M], folder: Path, *, keep_precision: bool = False, check: Callable[[M], None] | None = None
) -> M:
    """A model of diffusers, in evaluation mode; unlike diffusers itself, refusing weights that are incomplete.

    Args:
        kind: its class.
        folder: with config.json and the weights.
        keep_precision: whether weights stay as they are stored; else they become float32.
        check: raises an error, of any type, for a model of such settings, which it is given without memory.

    Raises:
        CheckpointError: where config or weights are missing, damaged or do not fit.
    """
    config = read_diffusers_config(folder / "config.json")
    weights = read_diffusers_weights(folder)
    with blamed(f"no {kind.__name__} can be loaded from '{folder}'"), quiet_diffusers():
        with on_paper(parameters=len(weights)):
            sized: Any = kind.from_config(config)
        rename_old_attention(sized, weights)
        check_weights(sized.state_dict(), weights, str(folder))
        check_size(sized, weights)
        if check is not None:
            check(sized.eval())
        with init_empty_weights(include_buffers=False):  # but tables that are computed when it is built
            model: Any = kind.from_config(config)
        read = weights if keep_precision else {name: _as_float(value) for name, value in weights.items()}
        model.load_state_dict(read, assign=True)
    return model.requires_grad_(True).eval()


def _as_float(value: Tensor) -> Tensor:
    return value.float() if value.is_floating_point() else value


def read_diffusers_weights(folder: Path) -> dict[str, Tensor]:
    """The weights of a model's folder: of its only variant where there is none without one, from one file or many.

    Raises:
        CheckpointError: where there are none, several to choose from, or they are damaged.
    """
    found = _weight_files(folder)
    variants = sorted({variant for variant, _ in found})
    if not variants:
        raise CheckpointError(
            f"no weights in '{folder}': expected {_STEM}.safetensors or .bin, or a variant such as "
            f"{_STEM}.fp16.safetensors."
        )
    if "" not in variants and len(variants) > 1:
        raise CheckpointError(
            f"'{folder}' holds the weights in several variants ({', '.join(variants)}) and none without: keep one of "
            "them in it."
        )
    kinds = [kind for variant, kind in found if variant == variants[0]]
    file = found[variants[0], "safetensors" if "safetensors" in kinds else "bin"]
    weights: dict[str, Tensor] = {}
    for part in read_shards(file) if file.suffix == ".json" else [file]:
        weights |= read_weight_file(part)
    return weights


def only_variant(folder: Path) -> str:
    """The name of the variant, such as fp16, that a model's weights are of; '' where there are some without."""
    variants = sorted({variant for variant, _ in _weight_files(folder)})
    return variants[0] if variants else ""


def _weight_files(folder: Path) -> dict[tuple[str, str], Path]:
    """Files of weights, or their indices, by variant ('' for none) and kind."""
    found: dict[tuple[str, str], Path] = {}
    for path in sorted(folder.iterdir()):
        if (match := _WHOLE.fullmatch(path.name)) and "-of-" not in path.name:
            found[match["variant"] or "", match["kind"]] = path
        elif match := _INDEX.fullmatch(path.name):
            found.setdefault((match["variant"] or "", match["kind"]), path)
    return found


def read_shards(index: Path) -> list[Path]:
    """The files of weights that an index names, all in its own folder.

    Raises:
        CheckpointError: where it is damaged, or names others.
    """
    names = read_json(index).get("weight_map")
    if not isinstance(names, dict) or not all(isinstance(n, str) and _SHARD.fullmatch(n) for n in names.values()):
        raise CheckpointError(f"'{index}' does not name the files of its folder that hold the weights.")
    return [index.with_name(name) for name in sorted(set(names.values()))]


def read_weight_file(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, .safetensors or .bin.

    Raises:
        CheckpointError: where it is missing or damaged, or holds more than that.
    """
    if path.suffix == ".safetensors":
        return read_weights(path)
    weights = read_torch_file(path)
    if not all(isinstance(name, str) and isinstance(value, Tensor) for name, value in weights.items()):
        raise CheckpointError(f"'{path}' holds more than weights by their names.")
    return weights


@contextmanager
def quiet_diffusers() -> Iterator[None]:
    """Without diffusers' notes about settings that it does not know: what matters is checked here."""
    logger = logging.getLogger("diffusers")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)
