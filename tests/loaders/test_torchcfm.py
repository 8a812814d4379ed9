"""Checkpoints of torchcfm and the RealUID authors against the reference tensors, and back into their layout."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import shown
from torch import Tensor

from realuid.data import Dataset
from realuid.errors import CheckpointError
from realuid.loaders import (
    ADMOptions,
    load_torchcfm,
    load_torchcfm_fake,
    load_torchcfm_student,
    save_torchcfm_student,
    save_torchcfm_teacher,
)
from realuid.loaders.torchcfm import looks_like, looks_like_student, looks_like_teacher
from realuid.models import Condition, Generator, MatchingModel, Plain, from_pretrained, save_pretrained
from realuid.objectives import RealUID
from realuid.paths import LinearPath, TrigonometricPath
from realuid.sampling import sample_teacher
from realuid.training import DistillConfig, distill_teacher
from realuid.training.draws import Draw
from realuid.training.updates import Game, fake_loss, generator_loss

UNCONDITIONAL, CONDITIONAL = "torchcfm_unet_uncond_teacher.pt", "torchcfm_unet_cond_teacher.pt"
DISTILLED = "realuid_uncond_distilled.pt"


@pytest.fixture(scope="module")
def reference(shared):
    folder = shared / "reference"
    if not folder.is_dir():
        pytest.skip(f"no reference checkpoints in {folder}")
    return folder


@pytest.fixture(scope="module")
def expected(reference) -> dict[str, Tensor]:
    with np.load(reference / "expected.npz") as file:
        return {name: torch.from_numpy(file[name]) for name in file}


def read(path) -> dict:
    return torch.load(path, weights_only=True)


# --- the functions the networks compute ---


@torch.no_grad()
def test_networks_match(reference, expected):
    x, t = expected["x"], 1 - expected["t"]
    teacher, conditional = load_torchcfm(reference / UNCONDITIONAL), load_torchcfm(reference / CONDITIONAL)
    assert (teacher.shape, teacher.num_classes, conditional.num_classes) == ((3, 32, 32), 0, 10)
    assert (-teacher(x, t) - expected["teacher_velocity"]).abs().max() < 1e-5
    labels = Condition(label=expected["y"])
    assert (-conditional(x, t, labels) - expected["cond_teacher_velocity"]).abs().max() < 1e-5


@torch.no_grad()
def test_samples_match(reference, expected):
    student, teacher = load_torchcfm_student(reference / DISTILLED), load_torchcfm(reference / UNCONDITIONAL)
    assert (student(expected["z"]) - expected["one_step_sample"]).abs().max() < 1e-5
    samples = sample_teacher(teacher, expected["z"], steps=10)
    assert (samples - expected["teacher_euler10_sample"]).abs().max() < 1e-5


# --- the losses and gradients of training ---


def relative(value: Tensor, reference: Tensor) -> float:
    return ((value - reference).norm() / reference.norm()).item()


def gradient_norm(model: torch.nn.Module) -> Tensor:
    return torch.stack([p.grad.norm() for p in model.parameters() if p.grad is not None]).norm()


@pytest.mark.parametrize("alpha, beta", [(1.0, 1.0), (0.92, 0.94), (0.98, 0.96), (0.92, 0.86)])
def test_losses_and_gradients_match(reference, expected, alpha, beta):
    """The very functions of a training step; the reference shares noise and times between generated and real data."""
    prefix, objective, path = f"a{alpha}_b{beta}_", RealUID(alpha, beta), LinearPath()
    student, fake = load_torchcfm_student(reference / DISTILLED), load_torchcfm_fake(reference / DISTILLED)
    teacher = load_torchcfm(reference / UNCONDITIONAL).requires_grad_(False)
    t, noise, batch = 1 - expected["t"], expected["noise"], len(expected["z"])
    generated = Draw(t=t, x_T=noise, eps=None, x_0=None, z=expected["z"], condition=Condition())
    real = Draw(t=t, x_T=noise, eps=None, x_0=expected["data"], z=None, condition=Condition())

    game = Game(objective, path, "velocity", teacher)
    loss = fake_loss(fake, game, shown(student, generated), real if alpha < 1 else None, batch, batch)
    loss.backward()
    assert relative(loss.detach(), expected[prefix + "fake_loss"]) < 1e-4
    assert relative(gradient_norm(fake), expected[prefix + "fake_grad_norm"]) < 1e-4
    assert relative(fake.network.unet.conv_in.weight.grad, expected[prefix + "fake_grad_first_conv"]) < 1e-4

    fake.requires_grad_(False)
    loss = generator_loss(student, fake, game, generated, batch).loss
    loss.backward()
    assert relative(loss.detach(), expected[prefix + "generator_loss"]) < 1e-4
    assert relative(gradient_norm(student), expected[prefix + "generator_grad_norm"]) < 1e-4
    first = student.model.network.unet.conv_in.weight.grad
    assert relative(first, expected[prefix + "generator_grad_first_conv"]) < 1e-4


# --- back into the authors' layout ---


def assert_bit_identical(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    assert all(one[k].dtype == other[k].dtype and torch.equal(one[k], other[k]) for k in one)


@pytest.mark.parametrize("name", [UNCONDITIONAL, CONDITIONAL])
def test_teacher_round_trip_is_bit_exact(reference, tmp_path, name):
    """Through a model folder of ours, head of the discriminator included."""
    for key in ("0.999", "raw"):
        save_pretrained(load_torchcfm(reference / name, key), tmp_path / key)
    average, raw = from_pretrained(tmp_path / "0.999"), from_pretrained(tmp_path / "raw")
    save_torchcfm_teacher(average, tmp_path / "back.pt", raw=raw)
    theirs, back = read(reference / name), read(tmp_path / "back.pt")
    assert any(key.startswith("cls_pred_branch.") for key in back["net_model"])
    assert_bit_identical(back["net_model"], theirs["net_model"])
    assert_bit_identical(back["ema_models"]["0.999"], theirs["ema_models"]["0.999"])
    assert load_torchcfm(tmp_path / "back.pt").network.unused.keys() == average.network.unused.keys()


def test_student_round_trip_is_bit_exact(reference, tmp_path):
    path = reference / DISTILLED
    save_torchcfm_student(
        load_torchcfm_student(path),
        tmp_path / "back.pt",
        raw=load_torchcfm_student(path, "raw"),
        fake=load_torchcfm_fake(path),
    )
    theirs, back = read(path), read(tmp_path / "back.pt")
    assert_bit_identical(back["gen"], theirs["gen"])
    assert_bit_identical(back["u"], theirs["u"])
    assert_bit_identical(back["ema_gens"]["0.999"], theirs["ema_gens"]["0.999"])
    assert not torch.equal(back["gen"]["out.2.weight"], back["u"]["out.2.weight"])


@torch.no_grad()
def test_saved_models_are_the_same_models(reference, expected, tmp_path):
    student = load_torchcfm_student(reference / DISTILLED)
    again = from_pretrained(save_pretrained(student, tmp_path / "student"))
    assert isinstance(again, Generator) and again.t_init == 1
    assert torch.equal(again(expected["z"]), student(expected["z"]))
    assert again.model.network.unused.keys() == student.model.network.unused.keys() != set()


@torch.no_grad()
def test_their_networks_read_our_files(reference, torchcfm_unet, tmp_path, expected):
    """The authors' scripts do not mind a discriminator's head; torchcfm's load `ema_model` strictly, without one."""
    network = torchcfm_unet((3, 32, 32), 32, 2, channel_mult=[1, 2, 2, 2], num_head_channels=64)
    teacher = save_torchcfm_teacher(load_torchcfm(reference / UNCONDITIONAL), tmp_path / "teacher.pt")
    network.load_state_dict(read(teacher)["ema_model"])
    assert (network(expected["t"], expected["x"]) - expected["teacher_velocity"]).abs().max() < 1e-5

    student = save_torchcfm_student(
        load_torchcfm_student(reference / DISTILLED), tmp_path / "student.pt", ema_key="0.9"
    )
    for weights in (read(student)["gen"], read(student)["ema_gens"]["0.9"]):
        missing, unexpected = network.load_state_dict(weights, strict=False)
        assert not missing and all(name.startswith("cls_pred_branch.") for name in unexpected)
        sample = expected["z"] + network(torch.zeros(4), expected["z"])
        assert (sample - expected["one_step_sample"]).abs().max() < 1e-5


def test_a_student_distilled_here_goes_there(reference, tmp_path):
    """Import, a real distillation, export: the student has moved, and the teacher's head came along."""
    path = reference / CONDITIONAL
    random = torch.Generator().manual_seed(0)
    images = torch.randint(256, (8, 3, 32, 32), generator=random, dtype=torch.uint8)
    data = Dataset(images, torch.arange(8), "noise", tuple("abcdefgh"))
    config = DistillConfig(updates=1, batch=2, fake_updates=1, alpha=0.9, beta=0.95, t_init=1.0, device="cpu")
    student = distill_teacher(load_torchcfm(path), data, config, tmp_path / "run")
    exported = read(save_torchcfm_student(student, tmp_path / "student.pt"))["gen"]
    theirs = read(path)["ema_models"]["0.999"]
    assert exported.keys() == theirs.keys()
    head = {name for name in theirs if name.startswith("cls_pred_branch.")}
    assert {name for name in theirs if torch.equal(exported[name], theirs[name])} == head


# --- which weights of a file ---


@pytest.fixture(scope="module")
def weights(reference) -> dict[str, Tensor]:
    return read(reference / UNCONDITIONAL)["net_model"]


def bias(model: MatchingModel) -> float:
    return model.network.unet.conv_out.bias[0].item()


def marked(weights: dict[str, Tensor], value: float, prefix: str = "") -> dict[str, Tensor]:
    """The same weights with one number that tells them apart."""
    marked = weights | {"out.2.bias": torch.full((3,), value)}
    return {prefix + name: tensor for name, tensor in marked.items()}


def test_one_average_is_taken_and_several_are_asked_for(weights, tmp_path):
    path = tmp_path / "teacher.pt"
    torch.save({"net_model": marked(weights, 1), "ema_models": {"0.999": marked(weights, 2)}, "step": 3}, path)
    assert bias(load_torchcfm(path)) == 2
    assert bias(load_torchcfm(path, "raw")) == 1
    with pytest.raises(CheckpointError, match=r"key = 0.5 is not in .* Allowed: raw, 0.999\."):
        load_torchcfm(path, "0.5")

    torch.save({"ema_models": {0.999: marked(weights, 2), 0.9999: marked(weights, 4)}}, path)
    assert bias(load_torchcfm(path, "0.9999")) == 4
    with pytest.raises(CheckpointError, match=r"several averages: pass key \(--key\), one of 0.999, 0.9999\."):
        load_torchcfm(path)

    torch.save({"net_model": marked(weights, 1)}, path)
    assert bias(load_torchcfm(path)) == 1


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
def test_torchcfms_example_layout_and_wrapped_networks(weights, tmp_path, prefix):
    path = tmp_path / "teacher.pt"
    torch.save({"net_model": marked(weights, 1, prefix), "ema_model": marked(weights, 2, prefix)}, path)
    assert bias(load_torchcfm(path)) == 2
    assert bias(load_torchcfm(path, "raw")) == 1


def test_families_are_told_apart(reference, weights):
    teacher, student = read(reference / UNCONDITIONAL), read(reference / DISTILLED)
    assert looks_like_teacher(teacher) and not looks_like_student(teacher)
    assert looks_like_student(student) and not looks_like_teacher(student)
    assert looks_like(teacher) and looks_like(student) and looks_like({"ema_model": weights})
    for other in (None, [], {}, weights, {"net_model": None}, {"net_model": {"a": torch.ones(1)}}, {"gen": 3}):
        assert not looks_like(other)


# --- what is refused ---


def test_a_file_of_the_other_kind_is_named(reference, tmp_path):
    with pytest.raises(
        CheckpointError, match="no torchcfm U-Net under 'net_model' or 'ema_models' or 'ema_model'; it ho"
    ):
        load_torchcfm(reference / DISTILLED)
    with pytest.raises(CheckpointError, match="no torchcfm U-Net under 'gen' or 'ema_gens'; it holds net_model"):
        load_torchcfm_student(reference / UNCONDITIONAL)
    with pytest.raises(CheckpointError, match="no torchcfm U-Net under 'u'"):
        load_torchcfm_fake(reference / UNCONDITIONAL)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda w: w.pop("input_blocks.1.0.in_layers.0.bias"), "1 missing: input_blocks.1.0.in_layers.0.bias"),
        (lambda w: w.update(surprise=torch.ones(2)), "1 unexpected: surprise"),
        (lambda w: w.update({"middle_block.1.qkv.bias": torch.ones(5)}), r"qkv.bias is \(5,\), needed \(192,\)"),
    ],
)
def test_weights_must_fit_exactly(weights, tmp_path, change, message):
    changed = dict(weights)
    change(changed)
    torch.save({"net_model": changed}, tmp_path / "teacher.pt")
    with pytest.raises(CheckpointError, match=message):
        load_torchcfm(tmp_path / "teacher.pt")


def test_models_without_a_place_in_the_layout_are_refused(reference, tmp_path):
    teacher, path = load_torchcfm(reference / UNCONDITIONAL), tmp_path / "out.pt"
    with pytest.raises(CheckpointError, match=r"t_init = 0\.714"):
        save_torchcfm_student(Generator(teacher), path)
    forward = MatchingModel(teacher.network, LinearPath(), preconditioning=Plain())
    with pytest.raises(CheckpointError, match=r"network reads 1 - t; .* Plain\(time_scale=1000.0"):
        save_torchcfm_teacher(forward, path)
    with pytest.raises(CheckpointError, match="path 'trigonometric'"):
        save_torchcfm_teacher(MatchingModel(teacher.network, TrigonometricPath()), path)
    assert list(tmp_path.iterdir()) == []


def test_options_reach_the_network(reference):
    model = load_torchcfm(reference / UNCONDITIONAL, options=ADMOptions(image_side=64, head_channels=32))
    assert model.shape == (3, 64, 64) and model.network.unet.config.attention_head_dim == 32
