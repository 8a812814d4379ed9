"""Micro-batches add up to the whole batch, and a batch that does not fit into memory is cut until it does."""

from __future__ import annotations

import dataclasses
import warnings
import weakref
from contextlib import nullcontext

import pytest
import torch
from accelerate import Accelerator
from conftest import small_teacher
from tasks import attentive, distill_task, fake_turn, generator_turn, noise

from realuid.errors import ConfigError, OutOfMemoryError
from realuid.training import DistillConfig, DistillTask, TeacherConfig, TeacherTask
from realuid.training.accelerate import make_accelerator
from realuid.training.distill import generator_accumulation_steps
from realuid.training.draws import micro_batches
from realuid.training.player import OutOfMemoryWarning, Player


@pytest.mark.parametrize("lambda_g", [0.0, 1.0])
@pytest.mark.parametrize("turn", ["fake", "generator"])
def test_micro_batches_give_the_gradient_of_the_whole_batch(data, turn: str, lambda_g: float) -> None:
    gradients = []
    for micro_batch in (0, 5):
        task = distill_task(data, alpha=0.92, beta=0.94, micro_batch=micro_batch, lambda_g=lambda_g, fake_updates=1)
        fake_turn(task, 0) if turn == "fake" else generator_turn(task, 0)
        mover = task.opponent if turn == "fake" else task.learner
        gradients.append(torch.cat([p.grad.flatten() for p in mover.parameters]))
    assert gradients[0].abs().max() > 1e-3
    assert (gradients[0] - gradients[1]).abs().max() < 1e-5 * gradients[0].abs().max()


def test_large_batches_go_through_the_generators_turn_in_two_parts_on_cpus() -> None:
    """A batch of 16 CIFAR-10 images does, one of 64 digits does not."""
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert [generator_accumulation_steps(cpu, n) for n in (64 * 64, 2**15, 2**15 + 1, 16 * 3 * 32 * 32)] == [1, 1, 2, 2]
    assert generator_accumulation_steps(cuda, 256 * 3 * 64 * 64) == 1


def test_parts_without_judged_images_add_nothing() -> None:
    """Two judged images in eight parts, and a network with attention: the gradients of two parts of eight."""
    gradients = []
    for micro_batch in (8, 2):
        settings = {"batch": 16, "lambda_g": 1.0, "gan_share": 0.125, "fake_updates": 1, "micro_batch": micro_batch}
        config, teacher = DistillConfig(**settings, device="cpu", seed=1), attentive()
        task = DistillTask(teacher, noise(teacher.shape), config, make_accelerator(config))
        assert {player.accumulation_steps for player in task.players} == {16 // micro_batch}
        fake_turn(task, 0)
        found = [p.grad.flatten() for p in task.opponent.parameters]
        generator_turn(task, 0)
        gradients.append([torch.cat(found), torch.cat([p.grad.flatten() for p in task.learner.parameters])])
    whole, parts = (g[0] for g in gradients)  # the generator's turn sees a fake model after a step of Adam
    assert whole.abs().max() > 1e-3 and (whole - parts).abs().max() < 1e-5 * whole.abs().max()
    assert (gradients[0][1] - gradients[1][1]).norm() < 1e-2 * gradients[0][1].norm()


@pytest.mark.parametrize("rank", [0, 1])
def test_processes_with_shares_of_two_sizes_make_parts_that_all_hold_images(data, rank: int, monkeypatch) -> None:
    """Five images on two processes, one at a time: two parts on either, of one image each and of one and two."""
    monkeypatch.setattr(Accelerator, "num_processes", 2)
    monkeypatch.setattr(Accelerator, "process_index", rank)
    task = distill_task(data, batch=5, micro_batch=1)
    draw = task.batches.generated("generator", 0, 5)
    assert [len(part) for part in micro_batches(draw, task.learner.accumulation_steps)] == [1, 1 + rank]


def test_every_process_needs_an_image(monkeypatch) -> None:
    monkeypatch.setattr(Accelerator, "num_processes", 8)
    with pytest.raises(ConfigError, match=r"batch = 6 with 8 processes.*--batch 8"):
        make_accelerator(TeacherConfig(batch=6, device="cpu"))
    config = DistillConfig(batch=32, lambda_g=1.0, gan_share=0.125, device="cpu")
    with pytest.raises(ConfigError, match=r"gan_share = 0\.125 of batch = 32 .* judge 4 images.*--gan-share 0\.25"):
        make_accelerator(config)
    make_accelerator(dataclasses.replace(config, gan_share=0.25))


def test_a_small_share_of_a_large_batch_goes_through_the_generators_turn_whole(data, monkeypatch) -> None:
    """600 images of 64 numbers are more than 2^15, half of them are not."""
    assert distill_task(data, batch=600).learner.accumulation_steps == 2
    monkeypatch.setattr(Accelerator, "num_processes", 2)
    assert distill_task(data, batch=600).learner.accumulation_steps == 1


def memory_for(most: int, *networks: torch.nn.Module, graph: bool = True) -> None:
    """A device on which a pass of more images than `most`, with activations kept or not, runs out of memory."""

    def check(network: torch.nn.Module, inputs: tuple) -> None:
        if torch.is_grad_enabled() == graph and len(inputs[0]) > most:
            raise RuntimeError(f"CUDA out of memory. Tried to allocate {len(inputs[0])} images.")

    for network in networks:
        network.register_forward_pre_hook(check)


@pytest.mark.slow
def test_where_memory_runs_out_batches_are_cut_until_they_fit(data) -> None:
    """16 generated and 16 real images in one pass of the fake model: 32, 16, 8 are too many."""
    ends = []
    for most in (100, 7):
        task = distill_task(data, alpha=0.92, beta=0.94, real_share=1.0, lambda_g=1.0)
        memory_for(most, task.teacher.network, task.fake.network, task.generator.model.network)
        if most == 7:
            with pytest.warns(OutOfMemoryWarning, match=r"fake: out of mem.* over 8 micro-batches .*--micro-batch 2"):
                values = task.update(0)
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                fake_turn(task, 1)
            assert (task.opponent.accumulation_steps, task.learner.accumulation_steps) == (8, 4)
            assert values["gap/count"].sum() == 16
        else:
            task.update(0), fake_turn(task, 1)
        ends.append([torch.cat([p.grad.flatten() for p in player.parameters]) for player in task.players])
    for whole, cut in zip(*ends, strict=True):  # Adam's first steps blow up the rounding of the smallest gradients
        assert (whole - cut).norm() < 1e-2 * whole.norm()


def test_images_that_the_generator_makes_for_the_fake_model_are_cut_as_well(data) -> None:
    """Without a graph; 16 and 8 of them are too many. They are the same then, and so is all that is made of them."""
    ends = []
    for most in (100, 4):
        task = distill_task(data, fake_updates=1)
        memory_for(most, task.generator.model.network, graph=False)
        with pytest.warns(OutOfMemoryWarning, match=r"fake: .* over 4 micro-batches") if most == 4 else nullcontext():
            fake_turn(task, 0)
        assert task.opponent.accumulation_steps == 16 // min(most, 16)
        ends.append(torch.cat([p.grad.flatten() for p in task.opponent.parameters]))
    assert ends[0].abs().max() > 1e-3 and (ends[0] - ends[1]).abs().max() < 1e-5 * ends[0].abs().max()


@pytest.mark.slow
@pytest.mark.parametrize(("batch", "parts"), [(5, [1, 2, 4, 5]), (12, [1, 2, 4, 8, 12])])
def test_a_single_image_is_tried_before_giving_up(data, batch: int, parts: list[int]) -> None:
    """Also where it is not half of two: of most batches."""
    player, tried = distill_task(data, batch=batch).learner, []

    with pytest.warns(OutOfMemoryWarning):
        for attempt in player.attempts():
            with attempt as accumulation_steps:
                tried.append(accumulation_steps)
                if accumulation_steps < batch:
                    raise RuntimeError("CUDA out of memory.")
    assert tried == parts
    with pytest.raises(OutOfMemoryError, match="with a single image"):
        run_out(player)


def run_out(player: Player) -> None:
    for attempt in player.attempts():
        with attempt:
            raise RuntimeError("CUDA out of memory.")


def test_several_processes_are_told_how_to_go_on(data, monkeypatch) -> None:
    """27 images, 14 of them on this process, in four parts: 4 at once were too many, and in eight parts it is 2."""
    monkeypatch.setattr(Accelerator, "num_processes", 2)
    task = distill_task(data, batch=27, micro_batch=4)
    message = r"a batch of 4 images does not fit .*--resume --micro-batch 2: results stay"
    with pytest.raises(OutOfMemoryError, match=message):
        run_out(task.opponent)


def test_a_single_image_that_does_not_fit_is_an_error(data) -> None:
    task = distill_task(data, batch=4)
    memory_for(0, task.fake.network)
    message = "fake do not fit into memory with a single image .*Tried to allocate 1 images.*--activation-checkpointing"
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
    assert task.learner.accumulation_steps == 1


@pytest.mark.parametrize("turn", [fake_turn, generator_turn])
def test_nothing_of_an_attempt_that_ran_out_of_memory_is_kept(data, turn) -> None:
    """Its graph is gone when the next one begins, even where memory ran out on the way back."""
    task = distill_task(data, fake_updates=1)
    outputs, alive = [], []

    def run_out_of_memory(_: torch.Tensor) -> None:
        raise RuntimeError("CUDA out of memory.")

    def watch(_: torch.nn.Module, inputs: tuple, output: torch.Tensor) -> None:
        if torch.is_grad_enabled() and not outputs:
            outputs.append(weakref.ref(output))
        elif torch.is_grad_enabled() and not alive:
            alive.append(outputs[0]() is not None)

    def fail_on_the_way_back(_: torch.nn.Module, inputs: tuple, output: torch.Tensor) -> None:
        if torch.is_grad_enabled() and not alive:
            output.register_hook(run_out_of_memory)

    model = task.fake if turn is fake_turn else task.generator.model
    model.network.unet.conv_in.register_forward_hook(watch)
    model.network.unet.conv_out.register_forward_hook(fail_on_the_way_back)
    with pytest.warns(OutOfMemoryWarning, match="over 2 micro-batches"):
        turn(task, 0)
    assert alive == [False]
