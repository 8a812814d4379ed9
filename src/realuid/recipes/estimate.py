"""What a run will cost, before it runs: parameters, memory, time."""

from __future__ import annotations

import time

import torch
from torch import Tensor

from realuid.models import Condition, MatchingModel, count_parameters
from realuid.recipes.config import Recipe, dump_recipe
from realuid.recipes.run import new_teacher, recipe_data
from realuid.training.config import LoopConfig


def _probe(model: MatchingModel, batch: int) -> tuple[float, float]:
    """Seconds and activation bytes of one forward and backward pass, per image, measured on a small batch."""
    x = torch.randn(batch, *model.shape)
    t = torch.full((batch,), (model.path.t_min + model.path.t_max) / 2)
    labels = torch.zeros(batch, dtype=torch.long) if model.num_classes else None
    condition = Condition(labels, torch.randn_like(x) if model.network.sees_source else None)
    saved = 0

    def pack(tensor: Tensor) -> Tensor:
        nonlocal saved
        saved += 0 if isinstance(tensor, torch.nn.Parameter) else tensor.nbytes
        return tensor

    seconds = []
    for _ in range(3):
        saved = 0
        start = time.perf_counter()
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            model(x, t, condition).square().mean().backward()
        seconds.append(time.perf_counter() - start)
    model.zero_grad(set_to_none=True)
    return min(seconds) / batch, saved / batch


def _describe(recipe: Recipe, model: MatchingModel, config: LoopConfig, learners: int, passes: float) -> str:
    batch = min(config.batch, 16)
    seconds, activations = _probe(model.train(), batch)
    parameters = count_parameters(model)
    at_once = min(config.batch, config.micro_batch or config.batch)
    # per learner: weights, gradients, two Adam moments; averages; one frozen copy of the teacher in distillation
    static = 4 * parameters * (4 * learners + len(config.ema) + (1 if learners > 1 else 0))
    memory = static + at_once * activations * learners
    hours = config.updates * config.batch * seconds * passes / 3600
    return "\n".join(
        [
            dump_recipe(recipe),
            f"parameters: {parameters:,} a network",
            f"memory: about {memory / 2**30:.2f} GiB (activations of {at_once} images at once)",
            f"time: about {_duration(hours)} on this CPU for {config.updates} updates of {config.batch} images",
        ]
    )


def _duration(hours: float) -> str:
    return f"{hours:.1f} h" if hours >= 1 else f"{hours * 60:.1f} min"


def describe_teacher_run(recipe: Recipe) -> str:
    """The resolved recipe, parameter count and estimates for training its teacher."""
    return _describe(recipe, new_teacher(recipe, recipe_data(recipe)), recipe.teacher, learners=1, passes=1.0)


def describe_student_run(recipe: Recipe, teacher: MatchingModel) -> str:
    """The resolved recipe, parameter count and estimates for a distillation.

    In units of a forward and backward pass (3 forwards): a fake step is 1 plus 1/3 for the generator's forward; a
    generator step is 1 for the generator and 2/3 each for teacher and fake model, whose weights need no gradients.
    """
    c = recipe.distill
    judged = c.gan_batch / c.batch  # a judgement stops at the bottleneck: half a network
    passes = c.fake_updates * (1 + 1 / 3 + c.real_batch / c.batch + judged * 4 / 3) + 1 + 4 / 3 + judged * 4 / 3
    return _describe(recipe, teacher, c, learners=2, passes=passes)
