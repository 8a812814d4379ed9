"""Peak memory of an update of a distillation, found by making one with tensors that have sizes and no memory.

What is counted is the update's own code, so every setting has its effect: adapters, activation checkpointing, guidance,
objectives, micro-batches. The CUDA context, workspaces of kernels and the allocator's fragmentation come on top.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from realuid.compat import AllocatedMemory, allocated_memory, moving_sizes, sizes_only
from realuid.data import Dataset
from realuid.models import MatchingModel, example
from realuid.models.networks.condition import LABEL, SOURCE
from realuid.training.accelerate import make_accelerator
from realuid.training.config import DistillConfig
from realuid.training.distill import DistillTask
from realuid.training.player import Player, accumulation_steps_for


@dataclass(frozen=True)
class Footprint:
    """Bytes of a distillation.

    Attributes:
        parts: of what stays between updates: name -> bytes.
        turns: peak of everything, gradients included, in the fake model's update and the generator's.
    """

    parts: dict[str, int]
    turns: dict[str, int]

    @property
    def peak(self) -> int:
        """The most at any time."""
        return max(self.turns.values())

    @property
    def resting(self) -> int:
        """Between updates."""
        return sum(self.parts.values())


def footprint(teacher: MatchingModel, config: DistillConfig, tokens: int = 77) -> Footprint:
    """The memory that an update takes on a GPU, in one process.

    Args:
        teacher: with weights, or created inside `sizes_only`.
        config: settings. Precision auto is bf16; a micro-batch of 0 is the whole batch.
        tokens: length of prompts, where the teacher reads any.

    Raises:
        ConfigError: where settings and teacher do not fit together.
    """
    precision, bits = "bf16" if config.precision == "auto" else config.precision, config.adam_bits
    config = dataclasses.replace(
        config,
        fake_updates=1,
        device="cpu",
        precision=precision,
        channels_last=False,
        compile=False,
        shard=False,
        adam_bits=32,
    )
    teacher.preconditioning.scales(teacher.path.coefficients(torch.tensor([0.5])))  # fills their caches with numbers
    data = _data(teacher, tokens)
    with sizes_only() as sized, moving_sizes():
        given = _without_memory(teacher, sized)  # not counted: on the host
        with allocated_memory() as memory:
            task = DistillTask(given, data, config, make_accelerator(config))
            task.learner.accumulation_steps = accumulation_steps_for(config.batch, config.micro_batch)
            parts = _parts(task, bits)
            turns = _turns(task, memory, sum(size for name, size in parts.items() if name.endswith("Adam")))
    return Footprint(parts, turns)


def _without_memory(teacher: MatchingModel, sized: Callable[[Tensor], Tensor]) -> MatchingModel:
    """A copy whose tensors have sizes only."""
    copies: dict[int, Any] = {}
    for tensor in (*teacher.parameters(), *teacher.buffers()):
        if type(tensor) in (Tensor, nn.Parameter):
            bare = sized(tensor.detach())
            copies[id(tensor)] = nn.Parameter(bare, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else bare
    return copy.deepcopy(teacher, copies)


def _data(teacher: MatchingModel, tokens: int) -> Dataset:
    """Two samples of the shapes that the teacher reads."""
    specs = [dataclasses.replace(s, shape=tuple(n or tokens for n in s.shape)) for s in teacher.network.conditions]
    condition = example(specs, 2)
    pairs = torch.zeros(2, *teacher.shape) if teacher.coupled else None
    columns = {name: value for name, value in condition.items() if name not in (LABEL, SOURCE)}
    labels, classes = condition.get(LABEL), tuple(map(str, range(teacher.num_classes)))
    return Dataset(torch.zeros(2, *teacher.shape), labels, classes=classes, sources=pairs, columns=columns)


def _parts(task: DistillTask, bits: int) -> dict[str, int]:
    """Weights by role, each tensor under the first role that has it, optimiser states and averages."""
    seen: set[int] = set()
    parts = {}
    for name, module in (("teacher", task.teacher), ("student", task.generator), ("fake model", task.opponent.module)):
        parts[f"{name}: weights"] = _bytes(_tensors(module), seen)
        if name == "teacher":  # a base that others share
            continue
        player = task.learner if name == "student" else task.opponent
        parts[f"{name}: Adam"] = sum(adam_bytes(p, bits) for p in player.parameters)
        if name == "student":
            parts["student: averages"] = _bytes(a for average in task.ema.averages.values() for a in average)
    return {name: size for name, size in parts.items() if size}


def adam_bytes(weights: Tensor, bits: int) -> int:
    """Bytes of Adam's two moments of a tensor.

    In 8 bits bitsandbytes keeps those of small tensors in 32, and a scale for every block of 256 numbers.
    """
    count = weights.numel()
    return 2 * count * weights.element_size() if bits == 32 or count < 4096 else 2 * (count + 4 * -(-count // 256))


def _tensors(module: nn.Module) -> Iterable[Tensor]:
    """Parameters and buffers of a module and, where it is an adapter, of what moves with it."""
    from realuid.compat import MovesAnother

    modules = [*(m.moved_along() for m in module.modules() if isinstance(m, MovesAnother)), module]
    for each in modules:
        adapter = each is not module
        for name, tensor in (*each.named_parameters(), *each.named_buffers()):
            if not (adapter and ".lora_" in f".{name}"):
                yield tensor


def _bytes(tensors: Iterable[Tensor], seen: set[int] | None = None) -> int:
    seen = set() if seen is None else seen
    total = 0
    for tensor in tensors:
        if id(tensor) not in seen:
            seen.add(id(tensor))
            total += tensor.numel() * tensor.element_size()
    return total


def _turns(task: DistillTask, memory: AllocatedMemory, moments: int) -> dict[str, int]:
    """Peaks of the two turns of an update, before the optimiser's step, which needs no more than what it keeps.

    Moments of Adam, so many bytes, are there from the first step on.
    """
    found: dict[str, int] = {}

    def note(player: Player) -> None:
        found[player.name] = memory.peak + moments

    def forget(player: Player) -> None:
        player.optimizer.state.clear()
        memory.peak = memory.now

    for player in task.players:
        player.optimizer.register_step_pre_hook(lambda *_, player=player: note(player))
        player.optimizer.register_step_post_hook(lambda *_, player=player: forget(player))
    memory.peak = memory.now
    task.update(0)
    return {"fake update": found[task.opponent.name], "generator update": found[task.learner.name]}
