"""Distillation with adapters on one frozen base: what learns, what is kept, what is saved, and resuming."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from conftest import small_teacher
from training.test_loop import StopError, same, stop_at, tensors

from realuid.errors import CheckpointError, ConfigError
from realuid.models import MatchingModel, NetworkConfig, UNet, build_network, from_pretrained
from realuid.models.saving.folder import read_config
from realuid.paths import LinearPath
from realuid.training import DistillConfig, distill_teacher, load_start
from realuid.training.accelerate import make_accelerator
from realuid.training.checkpoints import Checkpoints
from realuid.training.distill import DistillTask
from realuid.training.roles import make_roles

LORA = {
    "updates": 6,
    "batch": 16,
    "fake_updates": 2,
    "alpha": 0.92,
    "beta": 0.94,
    "save_every": 2,
    "device": "cpu",
    "ema": (0.9,),
    "generator_lr": 1e-2,
    "fake_lr": 1e-2,
    "fake_start": "teacher",
    "lora_rank": 2,
}


def task_of(digits, teacher: MatchingModel, **changes) -> DistillTask:
    config = DistillConfig(**LORA | changes)
    return DistillTask(teacher, digits, config, make_accelerator(config))


def weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def test_only_adapters_learn_and_all_roles_share_one_network(digits) -> None:
    teacher = small_teacher()
    task = task_of(digits, teacher)
    networks = (task.teacher.network, task.generator.model.network, task.fake.network)
    base = networks[0].base.network
    assert all(network.base.network is base for network in networks)
    frozen = {n: p.clone() for n, p in base.named_parameters() if "lora_" not in n}
    before = [weights(task.generator), weights(task.fake)]
    for number in range(2):
        task.update(number)
    assert all(torch.equal(p, frozen[n]) for n, p in base.named_parameters() if n in frozen)
    for old, new in zip(before, (task.generator.state_dict(), task.fake.state_dict()), strict=True):
        assert all("lora_" in name for name in new)
        assert all(not torch.equal(old[name], new[name]) for name in new if "lora_B" in name)
    x, t = torch.randn(2, 1, 8, 8), torch.tensor([0.3, 0.7])
    torch.testing.assert_close(task.teacher(x, t), teacher(x, t), rtol=0, atol=1e-5)


def test_averages_and_optimisers_hold_adapters_only(digits) -> None:
    task = task_of(digits, small_teacher())
    count = sum(p.numel() for p in task.generator.parameters())
    # rank 2: every adapted layer adds 2 (inputs x kernel + outputs) numbers
    layers = [m for m in small_teacher().network.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)][1:-1]
    assert count == sum(2 * (m.weight[0].numel() + len(m.weight)) for m in layers)
    assert sum(v.numel() for n, v in task.ema.state_dict().items() if n != "updates") == count
    assert sum(p.numel() for group in task.learner.optimizer.param_groups for p in group["params"]) == count


@pytest.mark.parametrize(("roles", "adapted"), [("student", (True, False)), ("fake", (False, True))])
def test_one_role_may_be_an_adapter(digits, roles: str, adapted: tuple[bool, bool]) -> None:
    start = "random" if roles == "student" else "teacher"
    task = task_of(digits, small_teacher(), lora_roles=roles, fake_start=start)
    assert (task.generator.model.network.shares_base, task.fake.network.shares_base) == adapted
    task.update(0)


def test_the_saved_student_is_a_plain_model_with_the_adapter_merged(digits, tmp_path: Path) -> None:
    teacher = small_teacher()
    student = distill_teacher(teacher, digits, DistillConfig(**LORA), tmp_path / "run")
    assert type(student.model.network) is UNet
    folder = tmp_path / "run" / "model"
    assert tensors(folder).keys() == {f"model.{name}" for name in teacher.state_dict()}
    assert read_config(folder)["network"] == {"architecture": "unet", "settings": teacher.network.settings}

    # oracle: the averaged adapters of the last checkpoint, the products written out
    files, _, _ = Checkpoints.read(Checkpoints(tmp_path / "run" / "checkpoints").latest()[1])
    own = {n.removeprefix("0.9.model."): v for n, v in files["ema"].items() if n != "updates"}
    expected = copy.deepcopy(teacher.state_dict())
    for name, a in own.items():
        if "lora_A" in name:
            layer, b = name.removesuffix(".lora_A.weight"), own[name.replace("lora_A", "lora_B")]
            expected[f"{layer}.weight"] += torch.einsum("or,r...->o...", b.flatten(1), a)
    found = from_pretrained(folder).model.state_dict()
    assert any(not torch.equal(found[n], teacher.state_dict()[n]) for n in found)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("several", [{}, {"calls": 2}])
def test_a_resumed_run_with_adapters_ends_bit_identical(digits, tmp_path: Path, monkeypatch, several) -> None:
    config = DistillConfig(**LORA | several)
    distill_teacher(small_teacher(), digits, config, tmp_path / "whole")
    with monkeypatch.context() as patch:
        stop_at(patch, 3)
        with pytest.raises(StopError):
            distill_teacher(small_teacher(), digits, config, tmp_path / "cut")
    distill_teacher(small_teacher(), digits, config, tmp_path / "cut", resume=True)
    assert same(tensors(tmp_path / "whole" / "model"), tensors(tmp_path / "cut" / "model"))
    saved, _, _ = Checkpoints.read(Checkpoints(tmp_path / "cut" / "checkpoints").latest()[1])
    assert {name for name in saved["generator"] if "lora_" not in name} == set()
    assert isinstance(load_start(tmp_path / "cut").model.network, UNet)
    with pytest.raises(CheckpointError, match="only its best model"):
        load_start(tmp_path / "cut", 0.9)


@pytest.mark.parametrize("calls", [1, 2])
def test_activation_checkpointing_changes_nothing(digits, calls: int) -> None:
    several = {"calls": calls} if calls > 1 else {}
    plain, other = (task_of(digits, small_teacher(), activation_checkpointing=on, **several) for on in (False, True))
    for task in (plain, other):
        task.update(0)
    if calls > 1:  # the fake model has learnt to tell the calls
        assert plain.fake.network.vectors.weight.abs().min() > 1e-4
        torch.testing.assert_close(plain.fake.network.vectors.weight, other.fake.network.vectors.weight)
    for a, b in zip(plain.generator.parameters(), other.generator.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=2e-4)  # Adam's first step is the gradient's sign times 0.01


def test_the_adversarial_loss_works_with_adapters(digits) -> None:
    task = task_of(digits, small_teacher(), lambda_g=1.0)
    names = {name for name, _ in task.opponent.module.named_parameters()}
    assert {n for n in names if "lora_" in n} and {n for n in names if n.startswith("head.")}
    assert torch.isfinite(task.update(0)["fake/loss"])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"lora_rank": -1}, "lora_rank = -1"),
        ({"lora_rank": 0, "lora_alpha": 2.0}, "lora_alpha = 2.0 without adapters"),
        ({"fake_start": "random"}, "fake_start = random with lora_rank = 2"),
        ({"compile": True}, "compile with lora_rank = 2"),
        ({"shard": True, "lora_base": "nf4"}, "shard with lora_base = nf4: weights in 4 bits cannot be sharded"),
        ({"lora_targets": ("nothing",)}, "lora_targets = nothing"),
    ],
)
def test_mistakes_are_named_before_anything_is_written(digits, tmp_path: Path, changes, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        distill_teacher(small_teacher(), digits, DistillConfig(**LORA | changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_start_of_its_own_goes_against_an_adapter(digits, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="start with lora_rank = 2"):
        distill_teacher(small_teacher(), digits, DistillConfig(**LORA), tmp_path / "run", start=small_teacher(seed=1))


def test_a_base_that_came_in_training_mode_drops_nothing() -> None:
    teacher = MatchingModel(
        build_network(NetworkConfig(channels=(8,), attention_at=(), dropout=0.5), (1, 8, 8)), LinearPath()
    )
    assert teacher.training
    roles = make_roles(teacher, DistillConfig(**LORA))
    x, t = torch.randn(2, 1, 8, 8), torch.tensor([0.3, 0.7])
    for model in (roles.teacher, roles.student.model, roles.fake):
        assert torch.equal(model(x, t), model(x, t))
