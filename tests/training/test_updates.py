"""The losses of one step against brute force, sample by sample, and against each other."""

from __future__ import annotations

import copy
import dataclasses

import pytest
import torch
from conftest import shown, small_teacher
from tasks import distill_task

from realuid.models import EDM, Generator, MatchingModel, NetworkConfig, build_network
from realuid.objectives import RealUID
from realuid.paths import VEPath
from realuid.training import DistillTask
from realuid.training.adversarial import deception_loss, discriminator_loss
from realuid.training.batches import Batches
from realuid.training.draws import Draw
from realuid.training.updates import Game, fake_loss, generator_loss, teacher_loss


def test_adversarial_losses_by_brute_force(data) -> None:
    task = distill_task(data, lambda_g=2.0)
    generated, real = task.near.generated("g", 0, 8), task.near.real("r", 0, 8)
    assert generated.t.max() < 0.2 and real.t.max() < 0.2
    judge, on_generated, on_real = task.opponent.module, 0.0, 0.0
    for i in range(8):
        t = generated.t[i : i + 1]
        x_t = (1 - t) * task.generator(generated.z[i : i + 1]) + t * generated.x_T[i : i + 1]
        on_generated += judge(x_t, t, judge=True).double().exp().log1p().item() / 8
        t = real.t[i : i + 1]
        x_t = (1 - t) * real.x_0[i : i + 1] + t * real.x_T[i : i + 1]
        on_real += (-judge(x_t, t, judge=True)).double().exp().log1p().item() / 8
    loss = discriminator_loss(judge, task.adversarial, task.path, shown(task.generator, generated), real, 8)
    assert loss.item() == pytest.approx(6 * (on_generated + on_real), rel=1e-5)
    fooled = deception_loss(task.generator, judge, task.adversarial, task.path, generated, 8)
    total = 0.0
    for i in range(8):
        t = generated.t[i : i + 1]
        x_t = (1 - t) * task.generator(generated.z[i : i + 1]) + t * generated.x_T[i : i + 1]
        total += (-judge(x_t, t, judge=True)).double().exp().log1p().item() / 8
    assert fooled.item() == pytest.approx(2 * total, rel=1e-5)


def brute_force_realum(task: DistillTask, generated, real) -> torch.Tensor:
    """Def. 2, sample by sample, with the divisions written out."""
    a, b = task.game.objective.alpha, task.game.objective.beta
    total = torch.zeros(())
    for i in range(len(generated)):
        x_0 = task.generator(generated.z[i : i + 1])
        t, noise = generated.t[i], generated.x_T[i : i + 1]
        f = task.fake((1 - t) * x_0 + t * noise, generated.t[i : i + 1])
        total = total + a * ((f - b / a * (noise - x_0)) ** 2).sum() / len(generated)
    for i in range(len(real)):
        x_0, t, noise = real.x_0[i : i + 1], real.t[i], real.x_T[i : i + 1]
        f = task.fake((1 - t) * x_0 + t * noise, real.t[i : i + 1])
        total = total + (1 - a) * ((f - (1 - b) / (1 - a) * (noise - x_0)) ** 2).sum() / len(real)
    return total


def test_stratified_fake_loss_is_realum_by_brute_force(data) -> None:
    task = distill_task(data, alpha=0.92, beta=0.86)
    generated, real = task.batches.generated("g", 0, 8), task.batches.real("r", 0, 3)
    loss = fake_loss(task.fake, task.game, shown(task.generator, generated), real, 8, 3)
    assert loss.item() == pytest.approx(brute_force_realum(task, generated, real).item(), rel=1e-5)


def test_generator_loss_is_theorem_2_by_brute_force(data) -> None:
    task = distill_task(data, alpha=0.92, beta=0.86)
    draw = task.batches.generated("g", 0, 8)  # the batch size equals the side of an image
    a, b, total = 0.92, 0.86, 0.0
    for i in range(8):
        x_0, t, noise = task.generator(draw.z[i : i + 1]), draw.t[i], draw.x_T[i : i + 1]
        x_t, y = (1 - t) * x_0 + t * noise, noise - x_0
        star, f = task.teacher(x_t, draw.t[i : i + 1]), task.fake(x_t, draw.t[i : i + 1])
        total += a * (((star - b / a * y) ** 2).sum() - ((f - b / a * y) ** 2).sum()).item() / 8
    loss = generator_loss(task.generator, task.fake, task.game, draw, 8)
    assert loss.loss.item() == pytest.approx(total, rel=1e-4)


def test_teacher_loss_is_the_mean_squared_velocity_error(data) -> None:
    teacher = small_teacher()
    draw = Batches(data, teacher.path, seed=1).real("x", 0, 8)
    expected = 0.0
    for i in range(8):
        x_0, x_T, t = draw.x_0[i : i + 1], draw.x_T[i : i + 1], draw.t[i]
        expected += ((teacher((1 - t) * x_0 + t * x_T, draw.t[i : i + 1]) - (x_T - x_0)) ** 2).sum().item() / 8
    assert teacher_loss(teacher, teacher.path, "velocity", draw, 8).item() == pytest.approx(expected, rel=1e-5)


def test_objective_without_real_data_equals_uid(data) -> None:
    task = distill_task(data)
    assert task.game.objective == RealUID(1.0, 1.0, 0.5)
    fake = copy.deepcopy(task.fake)
    draw = task.batches.generated("g", 0, 8)
    loss = fake_loss(fake, task.game, shown(task.generator, draw), None, 8, 0)
    x_0 = task.generator(draw.z)
    t = draw.t.view(-1, 1, 1, 1)
    expected = ((fake((1 - t) * x_0 + t * draw.x_T, draw.t) - (draw.x_T - x_0)) ** 2).sum() / 8
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_edms_losses_are_the_same_whatever_is_predicted(data) -> None:
    """Noise and data are two names for one prediction once x_t is given, so their weighted losses are equal."""
    torch.manual_seed(0)
    network = build_network(NetworkConfig("unet", (8,), 1, ()), (1, 8, 8)).double()
    model, other = (MatchingModel(copy.deepcopy(network), VEPath(), preconditioning=EDM()) for _ in range(2))
    with torch.no_grad():
        for p in other.parameters():
            p.mul_(1.1)
    batches = Batches(data, model.path, seed=1)
    generated, real = (in_double(draw(role, 0, 8)) for draw, role in ((batches.generated, "g"), (batches.real, "r")))
    values = []
    for space in ("data_prediction", "noise_prediction", "score"):
        game = Game(RealUID(), model.path, space, model)
        taught = teacher_loss(model, model.path, space, real, 8)
        made = shown(Generator(model), generated)
        fake = fake_loss(other, game, made, real, 8, 8)
        student = generator_loss(Generator(model), other, game, generated, 8)
        values.append([taught.item(), fake.item(), student.loss.item()])
    assert values[1] == pytest.approx(values[0], rel=1e-6) and values[2] == pytest.approx(values[0], rel=1e-6)
    assert min(map(abs, values[0])) > 1e-3


def in_double(draw: Draw) -> Draw:
    parts = {f.name: getattr(draw, f.name) for f in dataclasses.fields(draw)}
    return Draw(**{k: v.double() if isinstance(v, torch.Tensor) else v for k, v in parts.items()})
