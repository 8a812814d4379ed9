"""Micro-batches add up to the whole batch, and a batch that does not fit into memory is cut until it does."""

from __future__ import annotations

import warnings

import pytest
import torch
from conftest import small_teacher
from tasks import distill_task

from realuid.errors import OutOfMemoryError
from realuid.training import TeacherConfig, TeacherTask
from realuid.training.accelerate import make_accelerator
from realuid.training.distill import generator_parts
from realuid.training.player import OutOfMemoryWarning


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


def test_large_batches_go_through_the_generators_turn_in_two_parts_on_cpus() -> None:
    """A batch of 16 CIFAR-10 images does, one of 64 digits does not."""
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert [generator_parts(cpu, n) for n in (64 * 64, 2**15, 2**15 + 1, 16 * 3 * 32 * 32)] == [1, 1, 2, 2]
    assert generator_parts(cuda, 256 * 3 * 64 * 64) == 1


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
