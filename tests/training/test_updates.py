"""Who learns on whose turn, and that strata, micro-batches and processes add up to the loss of one big batch."""

from __future__ import annotations

import copy
import dataclasses
import warnings

import pytest
import torch
from conftest import shown, small_teacher

from realuid.data import Dataset
from realuid.errors import OutOfMemoryError
from realuid.models import EDM, Generator, MatchingModel, NetworkConfig, build_network
from realuid.objectives import RealUID
from realuid.paths import VEPath
from realuid.training import DistillConfig, DistillTask, TeacherConfig, TeacherTask
from realuid.training.accelerate import make_accelerator
from realuid.training.adversarial import deception_loss, discriminator_loss
from realuid.training.batches import Batches, Draw, micro_batches
from realuid.training.player import OutOfMemoryWarning
from realuid.training.updates import fake_loss, generator_loss, teacher_loss


@pytest.fixture
def data() -> Dataset:
    g = torch.Generator().manual_seed(0)
    values = torch.randint(0, 256, (50, 1, 8, 8), generator=g, dtype=torch.uint8)
    return Dataset(values, torch.arange(50) % 5, "noise", tuple("01234"))


def distill_task(data: Dataset, classes: int = 0, **settings) -> DistillTask:
    config = DistillConfig(**{"batch": 16, "fake_updates": 2, "device": "cpu", **settings})
    return DistillTask(small_teacher(num_classes=classes), data, config, make_accelerator(config))


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
    for turn, mover in ((lambda: task._fake_turn(0), against), (lambda: task._generator_turn(0), generator)):
        before = {m: weights(m) for m in (task.teacher, against, task.generator)}
        turn()
        assert [m for m in before if changed(m, before[m])] == [mover]
        still = [k for k, v in mover.state_dict().items() if torch.equal(v, before[mover][k])]
        assert still == []  # a discriminator's head among them
        assert all(p.grad is None for p in task.teacher.parameters())
    assert all(torch.isfinite(p).all() for player in task.players for p in player.parameters)


def test_the_discriminator_adds_a_head_to_the_fake_model(data) -> None:
    plain, judged = distill_task(data).opponent.module, distill_task(data, lambda_g=1.0).opponent.module
    assert judged.model is not plain and all(
        torch.equal(v, judged.model.state_dict()[k]) for k, v in plain.state_dict().items()
    )
    heads = [distill_task(data, lambda_g=1.0).opponent.module.head.state_dict() for _ in range(2)]
    assert all(torch.equal(heads[0][k], heads[1][k]) for k in heads[0]) and len(heads[0]) > 2


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


def test_the_discriminator_learns_to_tell_samples_from_data(digits) -> None:
    task = distill_task(digits, lambda_g=1.0, lambda_d=100.0, fake_lr=2e-3, batch=32, fake_updates=1)
    for i in range(40):
        task._fake_turn(i)
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


def test_frozen_networks_get_no_parameter_gradients(data) -> None:
    task = distill_task(data, alpha=0.92, beta=0.94)
    task._generator_turn(0)
    assert all(p.grad is None for p in task.fake.parameters())
    assert all(p.requires_grad for p in task.fake.parameters())
    assert not any(p.requires_grad for p in task.teacher.parameters())


def test_the_fake_model_starts_at_random_or_from_the_teacher(data) -> None:
    own = small_teacher().state_dict()
    random, teacher = (distill_task(data, fake_start=start).fake.state_dict() for start in ("random", "teacher"))
    assert all(torch.equal(teacher[k], own[k]) for k in own)
    assert not any(torch.equal(random[k], own[k]) for k in own if k.endswith("conv1.weight"))
    again = distill_task(data, fake_start="random").fake.state_dict()
    assert all(torch.equal(random[k], again[k]) for k in own)


def test_real_data_is_read_only_where_it_has_weight(data) -> None:
    assert distill_task(data, alpha=1.0, beta=1.0).config.real_batch == 0
    assert distill_task(data, alpha=0.9, beta=0.95, real_share=0.25).config.real_batch == 4


@pytest.mark.parametrize(("alpha", "beta", "best"), [(0.92, 0.94, 0.087)])
def test_the_share_of_real_data_is_near_the_measured_best(alpha: float, beta: float, best: float) -> None:
    """`best` by benchmarks/gradient_variance.py on digits."""
    assert DistillConfig(alpha=alpha, beta=beta).share == pytest.approx(best, rel=0.3)


def test_the_share_of_real_data_by_hand() -> None:
    # residuals f* - c y with c = 0.75 and 0.94 / 0.92, half as much variance in y as in f*
    real, generated = (0.5 * c**2 + (1 - c) ** 2 for c in (0.75, 0.94 / 0.92))
    expected = (4 / 3) ** 0.5 * 0.08 / 0.92 * (real / generated) ** 0.5
    assert DistillConfig(alpha=0.92, beta=0.94).share == pytest.approx(expected)
    assert DistillConfig(alpha=0.92, beta=0.94, real_share=1.0).share == 1.0
    assert DistillConfig(alpha=0.92, beta=0.94, batch=256).real_batch == round(256 * expected)
    general = DistillConfig(objective="general", alpha=1.0, beta=0.94, gamma=0.9)
    assert 0.01 <= general.share <= 1.0 and general.real_batch > 0


def brute_force_realum(task: DistillTask, generated, real) -> torch.Tensor:
    """Def. 2, sample by sample, with the divisions written out."""
    a, b = task.objective.alpha, task.objective.beta
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
    loss = fake_loss(task.fake, task.objective, task.path, "velocity", shown(task.generator, generated), real, 8, 3)
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
    loss = generator_loss(task.generator, task.teacher, task.fake, task.objective, task.path, "velocity", draw, 8)
    assert loss.loss.item() == pytest.approx(total, rel=1e-4)


@pytest.mark.parametrize("lambda_g", [0.0, 1.0])
@pytest.mark.parametrize("turn", ["fake", "generator"])
def test_micro_batches_give_the_gradient_of_the_whole_batch(data, turn: str, lambda_g: float) -> None:
    gradients = []
    for micro_batch in (0, 5):
        task = distill_task(data, alpha=0.92, beta=0.94, micro_batch=micro_batch, lambda_g=lambda_g, fake_updates=1)
        task._fake_turn(0) if turn == "fake" else task._generator_turn(0)
        mover = task.opponent if turn == "fake" else task.learner
        gradients.append(torch.cat([p.grad.flatten() for p in mover.parameters]))
    assert gradients[0].abs().max() > 1e-3
    assert (gradients[0] - gradients[1]).abs().max() < 1e-5 * gradients[0].abs().max()


def memory_for(most: int, *networks: torch.nn.Module) -> None:
    """A device on which a pass of more images than `most`, activations kept, runs out of memory."""

    def check(network: torch.nn.Module, inputs: tuple) -> None:
        if torch.is_grad_enabled() and len(inputs[0]) > most:
            raise RuntimeError(f"CUDA out of memory. Tried to allocate {len(inputs[0])} images.")

    for network in networks:
        network.register_forward_pre_hook(check)


def test_where_memory_runs_out_batches_are_cut_until_they_fit(data) -> None:
    """16 generated and 16 real images in one pass of the fake model: 32, 16, 8 are too many."""
    ends = []
    for most in (100, 7):
        task = distill_task(data, alpha=0.92, beta=0.94, real_share=1.0, lambda_g=1.0)
        memory_for(most, task.teacher.network, task.fake.network, task.generator.model.network)
        if most == 7:
            with pytest.warns(OutOfMemoryWarning, match=r"fake: out of memory.* in 8 parts .*--micro-batch 2"):
                values = task.update(0)
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                task._fake_turn(1)
            assert (task.opponent.parts, task.learner.parts) == (8, 4)
            assert values["gap/count"].sum() == 16
        else:
            task.update(0), task._fake_turn(1)
        ends.append([torch.cat([p.grad.flatten() for p in player.parameters]) for player in task.players])
    for whole, cut in zip(*ends, strict=True):  # Adam's first steps blow up the rounding of the smallest gradients
        assert (whole - cut).norm() < 1e-2 * whole.norm()


def test_a_single_image_that_does_not_fit_is_an_error(data) -> None:
    task = distill_task(data, batch=4)
    memory_for(0, task.fake.network)
    message = "fake do not fit into memory with a single image .*Tried to allocate 1 images.*--recompute"
    with pytest.warns(OutOfMemoryWarning), pytest.raises(OutOfMemoryError, match=message):
        task.update(0)


def test_other_errors_of_the_device_are_not_taken_for_that(data) -> None:
    config = TeacherConfig(batch=4, device="cpu")
    task = TeacherTask(small_teacher(), data, config, make_accelerator(config))

    def fail(*_) -> None:
        raise RuntimeError("CUDA error: device-side assert triggered")

    task.model.network.register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="device-side assert"):
        task.update(0)
    assert task.learner.parts == 1


def test_processes_share_one_batch(data) -> None:
    path = small_teacher().path
    whole = Batches(data, path, seed=1, flip=True)
    parts = [Batches(data, path, seed=1, flip=True, rank=r, world=3) for r in range(3)]
    for role in ("real", "generated"):
        full = getattr(whole, role)("x", 4, 10)
        split = [getattr(p, role)("x", 4, 10) for p in parts]
        assert [len(s) for s in split] == [3, 3, 4]
        for name in ("t", "x_T", "x_0", "z"):
            if getattr(full, name) is not None:
                assert torch.equal(torch.cat([getattr(s, name) for s in split]), getattr(full, name))
        assert torch.equal(torch.cat([s.condition.labels for s in split]), full.condition.labels)


@pytest.mark.parametrize("window", [1.0, 0.25])
def test_processes_share_one_time_of_every_interval(data, window: float) -> None:
    """Real and generated: the whole batch has one time in each n-th of the window, whoever computes it."""
    path = small_teacher().path
    parts = [Batches(data, path, seed=1, rank=r, world=2, window=window) for r in range(2)]
    for role in ("real", "generated"):
        for step in range(5):
            t = torch.cat([getattr(p, role)("x", step, 13).t for p in parts])
            place = (t - path.t_min) / (window * (path.t_max - path.t_min)) * 13
            assert sorted(place.floor().int().tolist()) == list(range(13))


def test_the_classes_of_a_batch_are_in_the_proportions_of_the_data(digits) -> None:
    """Every batch within two of the proportion, in the mean exactly, and in random order."""
    values, labels = digits.values[:90], torch.arange(90) % 9 % 4  # 30, 20, 20, 20 of four classes, not in order
    batches = Batches(Dataset(values, labels, "few", tuple("0123")), small_teacher().path, seed=1)
    share = torch.bincount(labels) / 90
    drawn = torch.stack([batches.generated("g", step, 12).condition.labels for step in range(600)])
    counts = torch.stack([torch.bincount(row, minlength=4) for row in drawn])
    assert ((counts - 12 * share).abs() < 2).all() and (counts.double().var(0) < 0.5).all()  # independent: 2 to 2.7
    assert torch.allclose(counts.double().mean(0), 12 * share.double(), atol=0.1)
    for place in (0, 11):  # no class has a place of its own: chi-squared, three degrees of freedom
        seen = torch.bincount(drawn[:, place], minlength=4)
        assert ((seen - 600 * share) ** 2 / (600 * share)).sum() < 16.3


def test_micro_batches_cover_a_draw_once(data) -> None:
    draw = Batches(data, small_teacher().path, seed=1).real("x", 0, 11)
    assert torch.equal(torch.cat([p.t for p in micro_batches(draw, 3)]), draw.t)
    assert micro_batches(None, 2) == [None, None]


def test_draws_depend_on_seed_role_and_step_alone(data) -> None:
    path = small_teacher().path
    first = Batches(data, path, seed=1).generated("a", 3, 6)
    torch.randn(7)
    again = Batches(data, path, seed=1).generated("a", 3, 6)
    assert torch.equal(first.z, again.z) and torch.equal(first.t, again.t)
    for other in (Batches(data, path, seed=2).generated("a", 3, 6), Batches(data, path, seed=1).generated("b", 3, 6)):
        assert not torch.equal(first.z, other.z)


def test_teacher_loss_is_the_mean_squared_velocity_error(data) -> None:
    teacher = small_teacher()
    draw = Batches(data, teacher.path, seed=1).real("x", 0, 8)
    expected = 0.0
    for i in range(8):
        x_0, x_T, t = draw.x_0[i : i + 1], draw.x_T[i : i + 1], draw.t[i]
        expected += ((teacher((1 - t) * x_0 + t * x_T, draw.t[i : i + 1]) - (x_T - x_0)) ** 2).sum().item() / 8
    assert teacher_loss(teacher, teacher.path, "velocity", draw, 8).item() == pytest.approx(expected, rel=1e-5)


def test_a_teacher_learns(digits) -> None:
    config = TeacherConfig(batch=32, lr=3e-3, device="cpu", updates=60)
    task = TeacherTask(small_teacher(), digits, config, make_accelerator(config))
    losses = [task.update(i)["teacher/loss"].item() for i in range(60)]
    assert sum(losses[-10:]) < 0.7 * sum(losses[:10])


def test_the_gap_by_time_averages_each_bin(data) -> None:
    task = distill_task(data)
    gap, t = torch.tensor([1.0, 3.0, 5.0]), torch.tensor([0.01, 0.02, 0.99])
    means = task.summary({k: v.tolist() for k, v in task._gap_by_time(gap, t).items()})
    assert means["gap"] == pytest.approx(3.0)
    assert means["gap_by_time"] == [2.0, None, None, None, None, None, None, 5.0]


def test_objective_without_real_data_equals_uid(data) -> None:
    task = distill_task(data)
    assert task.objective == RealUID(1.0, 1.0, 0.5)
    fake = copy.deepcopy(task.fake)
    draw = task.batches.generated("g", 0, 8)
    loss = fake_loss(fake, task.objective, task.path, "velocity", shown(task.generator, draw), None, 8, 0)
    x_0 = task.generator(draw.z)
    t = draw.t.view(-1, 1, 1, 1)
    expected = ((fake((1 - t) * x_0 + t * draw.x_T, draw.t) - (draw.x_T - x_0)) ** 2).sum() / 8
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


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
        taught = teacher_loss(model, model.path, space, real, 8)
        made = shown(Generator(model), generated)
        fake = fake_loss(other, RealUID(), model.path, space, made, real, 8, 8)
        student = generator_loss(Generator(model), model, other, RealUID(), model.path, space, generated, 8)
        values.append([taught.item(), fake.item(), student.loss.item()])
    assert values[1] == pytest.approx(values[0], rel=1e-6) and values[2] == pytest.approx(values[0], rel=1e-6)
    assert min(map(abs, values[0])) > 1e-3


def in_double(draw: Draw) -> Draw:
    parts = {f.name: getattr(draw, f.name) for f in dataclasses.fields(draw)}
    return Draw(**{k: v.double() if isinstance(v, torch.Tensor) else v for k, v in parts.items()})
