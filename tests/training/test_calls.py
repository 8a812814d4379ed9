"""Students of several calls in training: which call is drawn, what is differentiated, runs and their settings."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch

from realuid.data import Dataset, load_dataset
from realuid.errors import ConfigError
from realuid.models import MLP, ConditionSpec, MatchingModel, NetworkConfig, Student, build_network, from_pretrained
from realuid.paths import LinearPath
from realuid.processes import Part
from realuid.recipes import Recipe
from realuid.recipes.spec import NamedTeacher, student_spec
from realuid.training import DistillConfig, DistillTask, distill_teacher
from realuid.training.accelerate import make_accelerator
from realuid.training.batches import Batches, DrawOptions, micro_batches
from realuid.training.compatibility import check_student_run
from realuid.training.updates import generator_loss

TIMES = (0.9, 0.4)
TWO = DistillConfig(times=TIMES, updates=3, batch=8, fake_updates=2, generator_lr=1e-2, log_every=1, device="cpu")


@pytest.fixture(scope="module")
def data() -> Dataset:
    return load_dataset("toy:moons").subset(slice(64)).without_labels()


def teacher() -> MatchingModel:
    torch.manual_seed(0)
    return MatchingModel(build_network(NetworkConfig("mlp", (16,), 1), (2,)), LinearPath()).eval()


def task(data: Dataset, config: DistillConfig = TWO) -> DistillTask:
    return DistillTask(teacher(), data, config, make_accelerator(config))


def test_calls_are_drawn_evenly_and_processes_agree(data) -> None:
    one = Batches(data, LinearPath(), 0, options=DrawOptions(calls=3))
    parts = [Batches(data, LinearPath(), 0, part=Part(rank, 2), options=DrawOptions(calls=3)) for rank in range(2)]
    counts = torch.zeros(3)
    for step in range(300):
        draw = one.generated("generator", step, 4)
        counts[draw.call] += 1
        if step < 5:
            shares = [part.generated("generator", step, 4) for part in parts]
            assert {share.call for share in shares} == {draw.call}
            assert torch.equal(torch.cat([share.renoising for share in shares]), draw.renoising)
            assert [d.call for d in micro_batches(draw, 2)] == [draw.call] * 2
            assert torch.equal(torch.cat([d.renoising for d in micro_batches(draw, 2)]), draw.renoising)
    assert counts.min() > 75 and draw.renoising.shape == (4, 2, 2)


def test_several_calls_leave_the_other_draws_as_they_are(data) -> None:
    options = (DrawOptions(calls=calls) for calls in (1, 3))
    one, three = (Batches(data, LinearPath(), 0, options=each).generated("generator", 7, 4) for each in options)
    assert torch.equal(one.z, three.z) and torch.equal(one.t, three.t) and torch.equal(one.x_T, three.x_T)
    assert one.call == 0 and one.renoising.shape == (4, 0, 2)


@pytest.mark.parametrize("call", [0, 1])
def test_the_loss_is_differentiated_through_the_drawn_call_only(data, call) -> None:
    run = task(data)
    steps = (run.batches.generated("generator", step, 8) for step in range(50))
    draw = next(draw for draw in steps if draw.call == call)
    arguments = (run.fake, run.game, draw, 8)
    generator_loss(run.generator, *arguments).loss.backward()
    found = [p.grad.clone() for p in run.generator.parameters()]
    run.generator.zero_grad()
    student, x_t = run.generator, draw.z * TIMES[0]
    with torch.no_grad():
        if call == 1:
            x_0 = student.model(x_t, torch.full((8,), TIMES[0]), space="data_prediction")
            x_t = (1 - TIMES[1]) * x_0 + TIMES[1] * draw.renoising[:, 0]
    at = torch.full((8,), TIMES[call])
    generator_loss(lambda *_: student.model(x_t, at, space="data_prediction"), *arguments).loss.backward()
    for parameter, gradient in zip(student.parameters(), found, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


def test_a_student_of_two_times_trains_saves_and_resumes(data, tmp_path) -> None:
    student = distill_teacher(teacher(), data, TWO, tmp_path / "run")
    assert student.times == TIMES and student.calls == 2
    assert all(not torch.equal(p, q) for p, q in zip(student.parameters(), teacher().parameters(), strict=True))
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert all(line["generator/loss"] == line["generator/loss"] for line in lines if "generator/loss" in line)
    again = from_pretrained(tmp_path / "run" / "model")
    z, eps = torch.randn(4, 2), torch.randn(4, 1, 2)
    assert again.times == TIMES and torch.equal(again(z, None, eps), student(z, None, eps))
    longer = dataclasses.replace(TWO, updates=4, lr_decay="constant")
    whole = distill_teacher(teacher(), data, longer, tmp_path / "whole")
    distill_teacher(teacher(), data, dataclasses.replace(longer, updates=2), tmp_path / "parts")
    parts = distill_teacher(teacher(), data, longer, tmp_path / "parts", resume=True)
    assert all(torch.equal(p, q) for p, q in zip(parts.parameters(), whole.parameters(), strict=True))


def test_fine_tuning_goes_on_with_the_times_of_its_start(data, tmp_path) -> None:
    start = Student(teacher(), TIMES, renoise="deterministic")
    config = dataclasses.replace(TWO, times=None, updates=1)
    named = NamedTeacher(teacher())
    student = student_spec(Recipe(distill=config), named, tmp_path / "run", data=data, start=start).run()
    assert student.times == TIMES and student.renoise == "deterministic"
    assert config.of_student(start).times == TIMES and config.of_student(start).renoise == "deterministic"
    with pytest.raises(ConfigError, match=r"times = \(0.8, 0.3\), but the generator to start from has \(0.9, 0.4\)"):
        dataclasses.replace(config, times=(0.8, 0.3)).of_student(start)


def test_settings_that_contradict_each_other() -> None:
    with pytest.raises(ConfigError, match=r"the first of times is t_init. Pass one"):
        DistillConfig(times=TIMES, t_init=0.9)
    with pytest.raises(ConfigError, match="have to fall"):
        DistillConfig(times=(0.4, 0.9)).make_student(teacher())


class WithVector(MLP):
    """A network that declares a vector."""

    @property
    def conditions(self) -> tuple[ConditionSpec, ...]:
        return (ConditionSpec("vector", "vector", (3,)),)


def test_a_start_that_reads_something_else_is_refused(data) -> None:
    start = MatchingModel(WithVector(2, width=8, depth=1), LinearPath())
    message = "start is conditional on the vector 'vector', the teacher on nothing: they have to read the same"
    with pytest.raises(ConfigError, match=message):
        check_student_run(teacher(), data, TWO, start)
