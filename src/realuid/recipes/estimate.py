"""Estimates of a run's cost: parameters, memory, time."""

from __future__ import annotations

import copy
import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from realuid.devices import choose_device
from realuid.models import MatchingModel, count_parameters, example
from realuid.processes import started_together
from realuid.recipes.checks import check_demo
from realuid.recipes.config import Recipe, dump_recipe
from realuid.recipes.evaluate import calls_of
from realuid.recipes.spec import StudentSpec, TeacherSpec, teacher_spec
from realuid.training import DistillConfig
from realuid.training.config import LoopConfig
from realuid.training.costs import FORWARD, LEARN, update_cost
from realuid.training.distill import generator_accumulation_steps
from realuid.training.execution import Execution, choose_execution
from realuid.training.lora import ROLES

#: Number of images of the first measurement, and seconds below which it is repeated with more.
_FEW, _QUICK = 16, 0.2


class _Probe(NamedTuple):
    """Cost of one forward and backward pass of one image."""

    seconds: float
    activations: float


def _probe(model: MatchingModel, config: LoopConfig) -> _Probe:
    """Measure a copy of the model on the device of the run with its execution settings, on a small batch or a full one.

    Without torch.compile, which would take minutes. With activation checkpointing the activations of the block that is
    being recomputed are not counted.
    """
    device, at_once = choose_device(config.device), _at_once(config)
    model = copy.deepcopy(model).to(device).train()
    execution = dataclasses.replace(choose_execution(config, device, model), compile=False)
    execution.apply(model)
    autocast = partial(execution.autocast, device)
    few = min(_FEW, at_once)
    seconds = _seconds(model, few, autocast)
    if seconds * _FEW <= _QUICK:
        seconds = _seconds(model, at_once, autocast)
    # memory that does not grow with the batch, such as weights in half precision, is not activations
    return _Probe(seconds, (_saved(model, 4, autocast) - _saved(model, 2, autocast)) / 2)


def _loss(model: MatchingModel, batch: int, autocast: Callable[[], torch.autocast]) -> Tensor:
    device = model.device
    x = torch.randn(batch, *model.shape, device=device)
    t = torch.full((batch,), (model.path.t_min + model.path.t_max) / 2, device=device)
    condition = example(model.network.conditions, batch, torch.Generator().manual_seed(0)).to(device)
    with autocast():
        return model(x, t, condition).square().mean()


def _seconds(model: MatchingModel, batch: int, autocast: Callable[[], torch.autocast]) -> float:
    """Shortest time of a pass, per image."""
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        _loss(model, batch, autocast).backward()
        if model.device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    model.zero_grad(set_to_none=True)
    return min(seconds) / batch


def _saved(model: MatchingModel, batch: int, autocast: Callable[[], torch.autocast]) -> int:
    """Bytes that a forward pass keeps for the way back, each of them once, however many operations keep it."""
    saved: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = _loss(model, batch, autocast)
    del loss  # the loss kept all tensors alive, so that no address was reused
    return sum(saved.values())


class _Stage(NamedTuple):
    """A training run: its settings, copies of a network's numbers in memory, passes per image, and number of networks
    whose activations are stored at once.
    """

    name: str
    config: LoopConfig
    copies: int
    passes: float
    kept: float

    def hours(self, probe: _Probe) -> float:
        return self.config.updates * _mine(self.config) * probe.seconds * self.passes / 3600

    def gibibytes(self, probe: _Probe, parameters: int) -> float:
        """Of copies and activations. With `shard`, the processes have all but the activations in shares."""
        weights = 4 * parameters * self.copies / (started_together() if self.config.shard else 1)
        return (weights + _at_once(self.config) * probe.activations * self.kept) / 2**30


def _mine(config: LoopConfig) -> int:
    """A process's images of a batch."""
    return -(-config.batch // started_together())


def _at_once(config: LoopConfig) -> int:
    return min(_mine(config), config.micro_batch or config.batch)


def _student(name: str, c: DistillConfig, shape: tuple[int, ...]) -> _Stage:
    """A distillation in units of a forward and backward pass, by the cost model.

    Copies in memory: the frozen teacher; weights, gradients and two Adam moments of each trained network; the student's
    averages. Adapters are not counted.
    """
    cost = update_cost(c)
    steps = 1 if c.micro_batch else generator_accumulation_steps(choose_device(c.device), _mine(c) * math.prod(shape))
    kept = max(cost.fake_kept, cost.generator_kept / steps)
    whole = [role for role in ROLES if not c.adapts(role)]
    copies = 1 + 4 * len(whole) + (len(c.ema) if "student" in whole else 0)
    return _Stage(name, c, copies, passes=cost.passes / LEARN, kept=kept)


def _describe(recipe: Recipe, model: MatchingModel, stages: Sequence[_Stage], images: float = 0) -> str:
    """The resolved recipe and what its stages cost; `images`: network calls of samples that are measured at the end."""
    device, parameters = choose_device(stages[0].config.device), count_parameters(model)
    probes: dict[Execution, _Probe] = {}
    lines, hours = [f"parameters: {parameters:,} a network"], 0.0
    each = f" on each of {started_together()} processes" if started_together() > 1 else ""
    for stage in stages:
        execution = choose_execution(stage.config, device, model)
        probe = probes[execution] = probes.get(execution) or _probe(model, stage.config)
        hours += stage.hours(probe)
        taken = f"about {_duration(stage.hours(probe))} and {stage.gibibytes(probe, parameters):.2f} GiB{each}"
        lines.append(f"{stage.name}: {taken} for {stage.config.updates} updates of {stage.config.batch} images")
    if images:
        evaluating = images * probe.seconds * FORWARD / LEARN / 3600 / started_together()
        lines.append(f"samples for evaluation: about {_duration(evaluating)}")
        hours += evaluating
    where = "this GPU" if device.type == "cuda" else "this CPU"
    lines.append(f"time: about {_duration(hours)} in all on {where}")
    return "\n".join([dump_recipe(recipe), *lines])


def _duration(hours: float) -> str:
    return f"{hours:.1f} h" if hours >= 1 else f"{hours * 60:.1f} min"


def _teacher(recipe: Recipe) -> _Stage:
    """Weights, gradients, two Adam moments and averages."""
    return _Stage("teacher", recipe.teacher, copies=4 + len(recipe.teacher.ema), passes=1.0, kept=1.0)


def describe_teacher_run(run: TeacherSpec) -> str:
    """The resolved recipe, parameter count and estimates for training a teacher."""
    return _describe(run.recipe, run.model, [_teacher(run.recipe)])


def describe_student_run(run: StudentSpec) -> str:
    """The resolved recipe, parameter count and estimates for a distillation."""
    model = run.learner
    return _describe(run.recipe, model, [_student("student", run.recipe.distill, model.shape)])


def describe_demo(recipe: Recipe) -> str:
    """The resolved recipe, parameter count and estimates for its teacher, every student and their evaluation."""
    run = teacher_spec(recipe, Path())
    model = run.model
    check_demo(recipe, model, run.data)
    stages = [_teacher(recipe), *(_student(name, recipe.student(name), model.shape) for name in recipe.students)]
    calls = calls_of(model, recipe.evaluate) + sum(recipe.student(name).number_of_calls for name in recipe.students)
    return _describe(recipe, model, stages, recipe.evaluate.samples * recipe.evaluate.seeds * calls)
