"""Losses of one step as pure functions: unified matching, the fake model's loss, the generator's loss.

Each returns the sum of per-sample losses divided by the size of the *whole* batch, so that micro-batches and processes
add up to the loss of one big batch.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from realuid.models import Condition, Guided, MatchingModel
from realuid.objectives import Objective, matching_loss, squared_norm
from realuid.paths import Path, target
from realuid.training.draws import Draw, micro_batches

#: A student, or its distributed wrapper: what `Draw.inputs` holds -> x_0.
GeneratorCall = Callable[..., Tensor]
#: A `MatchingModel`, or its distributed wrapper: (x_t, t, condition, space) -> prediction.
ModelCall = Callable[..., Tensor]


@dataclass(frozen=True)
class Game:
    """Inputs of the losses besides the networks and their draws.

    Attributes:
        objective: the per-sample losses.
        path: of x_t.
        space: the prediction in which losses are computed.
        teacher: f*, frozen; its parameters must not require gradients.
        guide_real: whether real targets are guided like the prediction of a guided teacher.
    """

    objective: Objective
    path: Path
    space: str
    teacher: MatchingModel
    guide_real: bool = False


class GeneratorLoss(NamedTuple):
    """The generator's loss, a scalar, and values for the log."""

    loss: Tensor
    #: ||f* - f||^2 per element, per sample, detached, shape (b,): how far the fake model is from the teacher.
    gap: Tensor
    t: Tensor


def teacher_loss(model: ModelCall, path: Path, space: str, draw: Draw, batch: int) -> Tensor:
    """E w(t) ||f(x_t) - y||^2 on real data (Def. 1), a scalar.

    Args:
        model: the teacher in training (or its distributed wrapper).
        path: its path.
        space: its prediction.
        draw: real data with times and noise.
        batch: size of the whole batch.
    """
    assert draw.x_0 is not None, "a draw of real data"
    x_t, k = path.sample(draw.x_0, draw.x_T, draw.t, draw.eps)
    y = target(space, path, k, draw.x_0, draw.x_T, draw.eps)
    losses = matching_loss(model(x_t, draw.t, draw.condition, space), y)
    return (path.weight(draw.t, space) * losses).sum() / batch


@torch.no_grad()
def generated_images(generator: GeneratorCall, draw: Draw, count: int = 1) -> Tensor:
    """x_0^g = G(z) without a graph, shape (b, *shape), for the fake model's loss.

    Args:
        generator: the student.
        draw: of generated samples.
        count: number of micro-batches.
    """
    return torch.cat([generator(*d.inputs) for d in micro_batches(draw, count)])


def fake_loss(fake: ModelCall, game: Game, generated: Draw, real: Draw | None, batch: int, real_batch: int) -> Tensor:
    """The fake model's loss: RealUM(f) on generated and real samples (Def. 2), a scalar. Only here real data enters.

    One forward pass of the fake model over generated and real samples together; each stratum is averaged over its own
    size, so their ratio changes the variance of the gradient but not its mean.

    Args:
        fake: the trained fake model (or its distributed wrapper).
        game: objective, path, space; the teacher is called if the objective's fake loss needs it.
        generated, real: draws with images; `real` is None if real data has no weight.
        batch, real_batch: sizes of the whole strata.
    """
    objective, path, space = game.objective, game.path, game.space
    assert generated.x_0 is not None, "a draw with generated images"
    x_0, x_T, t, eps, condition = generated.x_0, generated.x_T, generated.t, generated.eps, generated.condition
    if real is not None:
        assert real.x_0 is not None, "a draw of real data"
        x_0, x_T, t = torch.cat([x_0, real.x_0]), torch.cat([x_T, real.x_T]), torch.cat([t, real.t])
        eps = None if eps is None or real.eps is None else torch.cat([eps, real.eps])
        condition = Condition.cat([condition, real.condition])

    x_t, k = path.sample(x_0, x_T, t, eps)
    y = target(space, path, k, x_0, x_T, eps)
    f = fake(x_t, t, condition, space)
    w, n, f_star = objective.time_weight(path, t, space), len(generated), None
    if objective.fake_needs_teacher:
        with torch.no_grad():
            if game.guide_real and isinstance(game.teacher, Guided):
                f_star, unguided = game.teacher(x_t, t, condition, space, with_unguided=True)
                y = torch.cat([y[:n], (y + f_star - unguided)[n:]])
            else:
                f_star = game.teacher(x_t, t, condition, space)

    g, r = ((f[part], y[part], None if f_star is None else f_star[part]) for part in (slice(0, n), slice(n, None)))
    loss = (w[:n] * objective.fake_on_generated(*g)).sum() / batch
    if real is not None:
        loss = loss + (w[n:] * objective.fake_on_real(*r)).sum() / real_batch
    return loss


def generator_loss(generator: GeneratorCall, fake: ModelCall, game: Game, draw: Draw, batch: int) -> GeneratorLoss:
    """The generator's loss (Thm. 2): gradients pass through x_t^g into both frozen networks, and through y^g.

    Args:
        generator: the trained student (or its distributed wrapper).
        fake: frozen; its parameters must not require gradients.
        game, batch: as in `fake_loss`.
        draw: noise, times and labels; with real data of the same labels if the objective calls the teacher on it.
    """
    objective, path, space, teacher = game.objective, game.path, game.space, game.teacher
    x_0 = generator(*draw.inputs)
    x_t, k = path.sample(x_0, draw.x_T, draw.t, draw.eps)
    y = target(space, path, k, x_0, draw.x_T, draw.eps)
    with nullcontext() if objective.through_networks else torch.no_grad():
        f_star = teacher(x_t, draw.t, draw.condition, space)
        f = fake(x_t, draw.t, draw.condition, space)
    signal = f_star
    if objective.generator_needs_real:
        assert draw.x_0 is not None, "the objective reads the teacher at real data"
        with torch.no_grad():
            x_r, k = path.sample(draw.x_0, draw.x_T, draw.t, draw.eps)
            on_real = teacher(x_r, draw.t, draw.condition, space)
            signal = objective.teacher_signal(f_star, y, on_real, target(space, path, k, draw.x_0, draw.x_T, draw.eps))
    w = objective.time_weight(path, draw.t, space) * objective.sample_weight(f_star, y)
    loss = (w * objective.generator(signal, f, y, x_t)).sum() / batch
    gap = squared_norm((f_star - f).detach()) / x_0[0].numel()
    return GeneratorLoss(loss, gap, draw.t)
