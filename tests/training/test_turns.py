"""Who learns on whose turn, from which start, on how much real data, and in which precision."""

from __future__ import annotations

import pytest
import torch
from conftest import small_teacher
from tasks import distill_task, fake_turn, generator_turn

from realuid.training import DistillConfig, DistillTask, TeacherConfig, TeacherTask
from realuid.training.accelerate import make_accelerator


def weights(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in module.state_dict().items()}


def changed(module: torch.nn.Module, before: dict[str, torch.Tensor]) -> bool:
    return any(not torch.equal(v, before[k]) for k, v in module.state_dict().items())


GAMES = {
    "uid": {},
    "realuid": {"alpha": 0.92, "beta": 0.94},
    "realsid": {"alpha_sid": 1.2, "normalise": True},
    "general": {"objective": "general", "alpha": 1.0, "beta": 0.94, "gamma": 0.9, "delta": "beta"},
    "normalised": {"objective": "normalised", "alpha": 0.92, "beta": 0.94},
    "dmd": {"objective": "dmd", "alpha": 0.9, "beta": 0.9, "weight": "min_snr"},
    "gan": {"lambda_g": 1.0},
    "realuid and gan": {"alpha": 0.92, "beta": 0.94, "lambda_g": 1.0, "gan_share": 0.5, "micro_batch": 5},
}


@pytest.mark.parametrize("classes", [0, 5])
@pytest.mark.parametrize("game", GAMES)
def test_on_each_turn_only_that_player_moves(data, game: str, classes: int) -> None:
    task = distill_task(data, classes, **GAMES[game])
    against, generator = task.opponent.module, task.generator
    for turn, mover in ((lambda: fake_turn(task, 0), against), (lambda: generator_turn(task, 0), generator)):
        before = {m: weights(m) for m in (task.teacher, against, task.generator)}
        turn()
        assert [m for m in before if changed(m, before[m])] == [mover]
        still = [k for k, v in mover.state_dict().items() if torch.equal(v, before[mover][k])]
        assert still == []  # a discriminator's head among them
        assert all(p.grad is None for p in task.teacher.parameters())
    assert all(torch.isfinite(p).all() for player in task.players for p in player.parameters)


def test_frozen_networks_get_no_parameter_gradients(data) -> None:
    task = distill_task(data, alpha=0.92, beta=0.94)
    generator_turn(task, 0)
    assert all(p.grad is None for p in task.fake.parameters())
    assert all(p.requires_grad for p in task.fake.parameters())
    assert not any(p.requires_grad for p in task.teacher.parameters())


def test_parts_that_a_network_keeps_fixed_stay_fixed(data) -> None:
    teacher = small_teacher()
    fixed = next(teacher.network.parameters()).requires_grad_(False)
    config = DistillConfig(batch=8, fake_updates=1, generator_lr=1e-2, fake_start="teacher", device="cpu")
    task = DistillTask(teacher, data, config, make_accelerator(config))
    task.update(0)
    task.update(1)
    for model in (task.generator.model, task.fake):
        first, *others = model.network.parameters()
        assert torch.equal(first, fixed) and not first.requires_grad
        assert all(p.requires_grad for p in others)


def test_the_discriminator_adds_a_head_to_the_fake_model(data) -> None:
    plain, judged = distill_task(data).opponent.module, distill_task(data, lambda_g=1.0).opponent.module
    assert judged.model is not plain and all(
        torch.equal(v, judged.model.state_dict()[k]) for k, v in plain.state_dict().items()
    )
    heads = [distill_task(data, lambda_g=1.0).opponent.module.head.state_dict() for _ in range(2)]
    assert all(torch.equal(heads[0][k], heads[1][k]) for k in heads[0]) and len(heads[0]) > 2


def test_the_discriminator_learns_to_tell_samples_from_data(digits) -> None:
    task = distill_task(digits, lambda_g=1.0, lambda_d=100.0, fake_lr=2e-3, batch=32, fake_updates=1)
    for i in range(40):
        fake_turn(task, i)
    with torch.no_grad():
        generated, real = task.near.generated("test", 0, 200), task.near.real("test real", 0, 200)
        x_g, _ = task.path.sample(task.generator(generated.z), generated.x_T, generated.t)
        x_r, _ = task.path.sample(real.x_0, real.x_T, real.t)
        right = torch.cat(
            [
                task.opponent.module(x_g, generated.t, judge=True) < 0,
                task.opponent.module(x_r, real.t, judge=True) > 0,
            ]
        )
    assert right.float().mean() > 0.9


def test_a_teacher_learns(digits) -> None:
    config = TeacherConfig(batch=32, lr=3e-3, device="cpu", updates=60)
    task = TeacherTask(small_teacher(), digits, config, make_accelerator(config))
    losses = [task.update(i)["teacher/loss"].item() for i in range(60)]
    assert sum(losses[-10:]) < 0.7 * sum(losses[:10])


def test_the_fake_model_starts_at_random_or_from_the_teacher(data) -> None:
    own = small_teacher().state_dict()
    random, teacher = (distill_task(data, fake_start=start).fake.state_dict() for start in ("random", "teacher"))
    assert all(torch.equal(teacher[k], own[k]) for k in own)
    assert not any(torch.equal(random[k], own[k]) for k in own if k.endswith("conv1.weight"))
    again = distill_task(data).fake.state_dict()
    assert all(torch.equal(random[k], again[k]) for k in own)
    several = distill_task(data, calls=2, fake_sees_call=False).fake.state_dict()
    assert all(torch.equal(several[k], own[k]) for k in own)
    for settings, begins in (({"times": (0.9, 0.4)}, "teacher"), ({"calls": 4, "fake_start": "random"}, "random")):
        assert DistillConfig(**settings).fake_begins == begins


def test_real_data_is_read_only_where_it_has_weight(data) -> None:
    without, some = distill_task(data, alpha=1.0, beta=1.0), distill_task(data, alpha=0.9, beta=0.95, real_share=0.25)
    assert [draws.real for draws in without.fake_draws(0)] == [None, None]
    assert [draws.real.x_0.shape for draws in some.fake_draws(0)] == [(4, 1, 8, 8)] * 2


def spread(loss) -> float:
    """Standard deviation of the fake model's gradient over targets with half of the teacher's variance, at f = f*."""
    random = torch.Generator().manual_seed(0)
    f_star, error = (torch.randn(10**6, 1, generator=random, dtype=torch.float64) for _ in range(2))
    fake = f_star.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(fake, f_star + 0.5**0.5 * error).sum(), fake)
    return float(gradient.std())


@pytest.mark.parametrize("fake_updates", [1, 5])
@pytest.mark.parametrize(("alpha", "beta"), [(0.92, 0.94), (0.9, 0.85), (0.5, 0.48)])
def test_the_share_of_real_data_is_where_variance_times_cost_is_least(alpha, beta, fake_updates) -> None:
    """(S_g^2 + S_r^2 / r)(c_g + r) for r real images per generated one, which costs c_g real ones."""
    config = DistillConfig(alpha=alpha, beta=beta, fake_updates=fake_updates, batch=256)
    objective = config.make_objective()
    s_g, s_r = spread(objective.fake_on_generated), spread(objective.fake_on_real)
    c_g = (1 + 3 * fake_updates) / (3 * fake_updates)  # a forward pass makes it, three learn from it each time
    r = torch.logspace(-2, 0, 20001, dtype=torch.float64)
    best = float(r[((s_g**2 + s_r**2 / r) * (c_g + r)).argmin()])
    assert config.share == pytest.approx(best, rel=5e-3) and config.real_batch == round(256 * config.share)
    assert DistillConfig(alpha=alpha, beta=beta, real_share=0.7, batch=256).real_batch == 179


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_networks_run_in_the_precision_asked_for_and_weights_stay_in_single(data, precision: str) -> None:
    """The first fake and generator losses are those of fp32 up to the precision's rounding, and not the same."""
    losses = {}
    for each in ("fp32", precision):
        config = DistillConfig(batch=16, fake_updates=1, precision=each, alpha=0.92, beta=0.94, device="cpu")
        task = DistillTask(small_teacher(), data, config, make_accelerator(config))
        kinds: set[torch.dtype] = set()
        task.fake.network.unet.conv_in.register_forward_hook(lambda *call, kinds=kinds: kinds.add(call[-1].dtype))
        values = task.update(0)
        losses[each] = torch.stack([values["fake/loss"], values["generator/loss"]])
        assert kinds == {{"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[each]}
        assert all(p.dtype == torch.float32 for player in task.players for p in player.parameters)
    assert torch.allclose(losses[precision], losses["fp32"], rtol=0.03)
    assert not torch.equal(losses[precision], losses["fp32"])


def test_the_gap_by_time_averages_each_bin(data) -> None:
    task = distill_task(data)
    gap, t = torch.tensor([1.0, 3.0, 5.0]), torch.tensor([0.01, 0.02, 0.99])
    means = task.summary({k: v.tolist() for k, v in task._gap_by_time(gap, t).items()})
    assert means["gap"] == pytest.approx(3.0)
    assert means["gap_by_time"] == [2.0, None, None, None, None, None, None, 5.0]
