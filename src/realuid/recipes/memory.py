"""What a distillation takes of a GPU's memory, and which settings fit into one."""

from __future__ import annotations

import dataclasses
import re
import warnings
from collections.abc import Iterator
from typing import Any

from realuid.errors import ConfigError
from realuid.models.prompts import TEXT
from realuid.recipes.spec import StudentSpec
from realuid.training import DistillConfig
from realuid.training.footprint import Footprint, footprint

#: Set aside for what is not counted: the CUDA context, workspaces of kernels, fragmentation. An assumption.
RESERVED = 2**30
_UNITS = {"": 10**9, "gb": 10**9, "gib": 2**30, "mb": 10**6, "mib": 2**20}


def bytes_of(size: str) -> int:
    """Bytes of a size such as '24GB', '22.5GiB' or '24' (GB).

    Raises:
        ConfigError: for what is no size.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", size.lower())
    if found is None or found[2] not in _UNITS or not float(found[1]):
        raise ConfigError(f"for = {size[:40]}: the memory of a GPU is needed, such as 24GB or 80GiB.")
    return int(float(found[1]) * _UNITS[found[2]])


def describe_memory(run: StudentSpec, size: str) -> str:
    """The peak of every part of a distillation on a GPU of a size and, where it does not fit, settings that do."""
    budget, config = bytes_of(size), run.recipe.distill
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tensors without memory
        found = _count(run, config)
        lines = [
            f"memory on a GPU of {size}, in micro-batches of {config.micro_batch or config.batch}:",
            *_table(found),
        ]
        if _fits(found, budget):
            return "\n".join([*lines, f"fits: {_gib(budget - RESERVED - found.peak)} are left"])
        for said, other in _leaner(config):
            if _fits(less := _count(run, other), budget):
                return "\n".join([*lines, f"does not fit. This does, with a peak of {_gib(less.peak)}: {said}"])
    return "\n".join([*lines, f"does not fit, nor does the leanest: {said} takes {_gib(less.peak)}"])


def _count(run: StudentSpec, config: DistillConfig) -> Footprint:
    columns = getattr(run.data, "columns", {})
    tokens = {"tokens": int(columns[TEXT].shape[1])} if TEXT in columns else {}
    return footprint(run.teacher.model, config, **tokens)


def _table(found: Footprint) -> Iterator[str]:
    for name, size in found.parts.items():
        yield f"  {name}: {_gib(size)}"
    for name, size in found.turns.items():
        yield f"  peak of the {name}, with gradients and activations: {_gib(size)}"
    yield f"  set aside for the CUDA context, workspaces and fragmentation: {_gib(RESERVED)}"


def _fits(found: Footprint, budget: int) -> bool:
    return found.peak + RESERVED <= budget


def _leaner(config: DistillConfig) -> Iterator[tuple[str, DistillConfig]]:
    """Settings that take less and less memory, with the options that lead to them."""
    changes: dict[str, Any] = {}
    options: list[str] = []

    def added(option: str, **more: Any) -> tuple[str, DistillConfig]:
        changes.update(more)
        options.append(option)
        return " ".join(options), dataclasses.replace(config, **changes)

    if config.micro_batch != 1 and config.batch > 1:
        yield added("--micro-batch 1", micro_batch=1)
    if not config.activation_checkpointing:
        yield added("--activation-checkpointing", activation_checkpointing=True)
    if not config.lora_rank:
        yield added("--lora-rank 64 --fake-start teacher", lora_rank=64, fake_start="teacher")
    if config.lora_base == "teacher":
        yield added("--lora-base bf16", lora_base="bf16")
    if config.lora_base != "nf4":
        options[:] = [option for option in options if not option.startswith("--lora-base")]
        yield added("--lora-base nf4", lora_base="nf4")


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f} GiB" if size >= 2**27 else f"{size / 2**20:.2f} MiB"
