"""Weights from untrusted files: read, compared with their network, and loaded exactly."""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from realuid.compat import on_new_parameter
from realuid.errors import CheckpointError
from realuid.reading import check_regular

#: Numbers of one sample: four channels of 2048 x 2048, beyond any published network of pixels or latents.
MAX_SAMPLE = 1 << 24
#: Numbers that a network may compute when it is built, for instance positions, beside an eighth of its weights' number.
MAX_TABLE = 1 << 22


class Shaped(Protocol):
    """Anything with a shape: a tensor, or the record of one that is not read yet."""

    @property
    def shape(self) -> tuple[int, ...]: ...


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file.

    Raises:
        CheckpointError: where it is missing or damaged.
    """
    check_regular(path)
    try:
        return load_file(path)
    except Exception as error:  # damage surfaces as SafetensorError, KeyError, ValueError, OSError, ...
        raise CheckpointError(f"'{path}' cannot be read ({type(error).__name__}: {error}).") from error


def apart(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights as safetensors wants them: contiguous, on the CPU, and none in the memory of another (tied weights)."""
    taken: set[int] = set()
    result = {}
    for name, value in weights.items():
        value = value.detach().cpu().contiguous()
        shared = value.numel() > 0 and value.data_ptr() in taken
        taken.add(value.data_ptr())
        result[name] = value.clone() if shared else value
    return result


@contextmanager
def on_paper(parameters: int) -> Iterator[None]:
    """Networks made inside have shapes but no memory, and are stopped if they grow beyond what a file can fill.

    For settings that come from a file: a damaged number may ask for a billion blocks.

    Args:
        parameters: how many tensors the file holds. A few times as many may be made on the way, no more.

    Raises:
        CheckpointError: when more are.
    """
    thread, made = threading.get_ident(), itertools.count()

    def count(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        if threading.get_ident() == thread and next(made) > 4 * parameters + 16:
            raise CheckpointError(
                f"the settings ask for a network far larger than the {parameters} tensors beside them."
            )

    with on_new_parameter(count), torch.device("meta"):
        yield


def check_size(sized: nn.Module, weights: Mapping[str, Shaped]) -> None:
    """Compare with the weights what settings ask for that no weight pins, before it gets memory.

    Args:
        sized: a network made `on_paper`; where it has the shape of a sample, that is checked, too.
        weights: those beside the settings.

    Raises:
        CheckpointError: for tables far larger than the weights, or an impossible sample.
    """
    if (shape := getattr(sized, "shape", None)) is not None:
        check_sample(shape)
    held = sized.state_dict()
    table = sum(buffer.numel() for name, buffer in sized.named_buffers() if name not in held)
    if table > MAX_TABLE + sum(math.prod(value.shape) for value in weights.values()) // 8:
        raise CheckpointError(
            f"the settings ask for tables of {table:,} numbers, far more than the {len(weights)} tensors beside them "
            "need: one of them, such as sample_size, is wrong."
        )


def check_sample(shape: tuple[int, ...]) -> None:
    """Raise CheckpointError unless a shape is of positive whole numbers, at most `MAX_SAMPLE` in all."""
    if not shape or not all(type(n) is int and n > 0 for n in shape) or math.prod(shape) > MAX_SAMPLE:
        raise CheckpointError(
            f"samples of shape {str(tuple(shape))[:100]}: needed are positive whole numbers with a product of at most "
            f"{MAX_SAMPLE:,}."
        )


def check_weights(own: Mapping[str, Shaped], weights: Mapping[str, Shaped], where: str) -> None:
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


def load_strictly(module: nn.Module, weights: dict[str, Tensor], where: str, *, keep_precision: bool = False) -> None:
    """Load weights that must fit exactly; `check_weights` says how they differ.

    Args:
        module: whose weights are replaced.
        weights: all of them.
        where: they were read, for messages.
        keep_precision: whether the module's weights become these tensors, in their precision.

    Raises:
        CheckpointError: where names, shapes or kinds of numbers differ.
    """
    own = module.state_dict()
    check_weights(own, weights, where)
    for name, value in weights.items():
        if value.is_floating_point() != own[name].is_floating_point():
            raise CheckpointError(f"weights in '{where}' are damaged: {name} is {value.dtype}, not {own[name].dtype}.")
    try:
        module.load_state_dict(weights, assign=keep_precision)
    except RuntimeError as error:  # a number format that torch knows but cannot convert
        raise CheckpointError(f"weights in '{where}' cannot be used ({error}).") from error
