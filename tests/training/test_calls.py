"""Students of several calls in training: which call is drawn, what is differentiated, runs and their settings."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
from collections import Counter

import pytest
import torch

from realuid.data import Dataset, load_dataset
from realuid.errors import ConfigError
from realuid.models import (
    MLP,
    Condition,
    ConditionSpec,
    MatchingModel,
    NetworkConfig,
    Student,
    build_network,
    from_pretrained,
)
from realuid.models.networks.call import told
from realuid.paths import LinearPath, make_path
from realuid.processes import Part
from realuid.recipes import Recipe
from realuid.recipes.spec import NamedTeacher, student_spec
from realuid.training import DistillConfig, DistillTask, distill_teacher
from realuid.training.accelerate import make_accelerator
from realuid.training.batches import Batches, DrawOptions
from realuid.training.compatibility import check_student_run
from realuid.training.draws import micro_batches
from realuid.training.sharding import _units
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
        assert sorted(Counter(draw.call).values()) == [1, 1, 2]  # in one batch, too
        counts += torch.bincount(torch.tensor(draw.call), minlength=3)
        if step < 5:
            shares = [part.generated("generator", step, 4) for part in parts]
            assert sum((share.call for share in shares), ()) == draw.call
            assert torch.equal(torch.cat([share.renoising for share in shares]), draw.renoising)
            assert sum((d.call for d in micro_batches(draw, 2)), ()) == draw.call
            assert torch.equal(torch.cat([d.renoising for d in micro_batches(draw, 2)]), draw.renoising)
            assert draw.condition["call"].tolist() == list(draw.call)
    assert counts.min() > 375 and draw.renoising.shape == (4, 2, 2)


def test_several_calls_leave_the_other_draws_as_they_are(data) -> None:
    options = (DrawOptions(calls=calls) for calls in (1, 3))
    one, three = (Batches(data, LinearPath(), 0, options=each).generated("generator", 7, 4) for each in options)
    assert torch.equal(one.z, three.z) and torch.equal(one.t, three.t) and torch.equal(one.x_T, three.x_T)
    assert one.call == (0,) * 4 and one.renoising.shape == (4, 0, 2) and "call" not in one.condition


def test_images_of_a_turn_keep_their_calls(data) -> None:
    turn = Batches(data, LinearPath(), 0, options=DrawOptions(calls=3)).turn("fake", 4, 5)
    first, second = next(turn), next(turn)
    assert first.call == second.call and not torch.equal(first.t, second.t)


@pytest.mark.parametrize("inputs", ["rollout", "data"])
def test_the_loss_is_differentiated_through_the_drawn_calls_only(data, inputs) -> None:
    run = task(data, dataclasses.replace(TWO, call_inputs=inputs))
    draw = run.generator_draws(3).generated
    arguments = (run.fake, run.game, draw, 8)
    generator_loss(run.generator, *arguments).loss.backward()
    found = [p.grad.clone() for p in run.generator.parameters()]
    run.generator.zero_grad()
    student, x_t = run.generator, draw.z * TIMES[0]
    with torch.no_grad():
        x_0 = student.model(x_t, torch.full((8,), TIMES[0]), space="data_prediction")
        if inputs == "data":
            x_0 = draw.noised
            assert (x_0[:, None] == data.values).all(-1).any(-1).all()  # real data
        later = (1 - TIMES[1]) * x_0 + TIMES[1] * draw.renoising[:, 0]
        second = torch.tensor(draw.call)[:, None] == 1
        x_t = torch.where(second, later, x_t)
    at = torch.where(second, TIMES[1], TIMES[0])[:, 0]
    generator_loss(lambda *_: student.model(x_t, at, space="data_prediction"), *arguments).loss.backward()
    assert second.sum() == 4
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


def test_fine_tuning_goes_on_from_fewer_calls(data, tmp_path) -> None:
    one = Student(teacher(), 0.8)
    config = dataclasses.replace(TWO, times=None, calls=2, updates=2, fake_start="teacher")
    student = distill_teacher(teacher(), data, config, tmp_path / "two", start=one)
    assert student.times == pytest.approx((0.8, math.tan(math.atan(4) / 2) / (1 + math.tan(math.atan(4) / 2))))
    from_weights = distill_teacher(teacher(), data, config.of_student(one), tmp_path / "same", start=one.model)
    assert all(torch.equal(p, q) for p, q in zip(student.parameters(), from_weights.parameters(), strict=True))
    four = dataclasses.replace(config, calls=4).of_student(student)
    assert four.times[0] == 0.8 and four.times[2] == pytest.approx(student.times[1]) and four.calls == 4
    assert dataclasses.replace(config, calls=1).of_student(student).t_init == 0.8
    with pytest.raises(ConfigError, match="noise = False, but the generator to start from has True"):
        dataclasses.replace(config, noise=False).of_student(one)


@pytest.mark.parametrize("path", ["linear", "ve", "ddpm", "interpolant"])
@pytest.mark.parametrize("times", ["path", "log-normal"])
def test_phases_judge_every_call_between_its_time_and_the_next(data, path, times) -> None:
    student = Student(MatchingModel(teacher().network, make_path(path)), calls=3)
    options = DrawOptions(calls=3, phases=student.times)
    whole, phases = (Batches(data, student.model.path, 0, options=o) for o in (DrawOptions(calls=3), options))
    found = [[], [], []]
    for step in range(30):
        draw = phases.generated("generator", step, 30, times)
        for call, t in zip(draw.call, draw.t.tolist(), strict=True):
            found[call].append(t)
    # what the distribution of all times has in an interval, as often as there
    drawn = torch.cat([whole.generated("generator", step, 30, times).t for step in range(300)])
    ends = [*student.times, -1.0]
    for call, seen in enumerate(found):
        assert ends[call + 1] < min(seen) * (1 + 1e-6) and max(seen) <= ends[call] * (1 + 1e-6)
        expected = drawn[(drawn > ends[call + 1]) & (drawn <= ends[call])].double()
        quartiles = torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64)
        spread = float(expected.std())
        difference = torch.tensor(seen, dtype=torch.float64).quantile(quartiles) - expected.quantile(quartiles)
        assert difference.abs().max() < 0.2 * spread
    turn = phases.turn("fake", 3, 6, times)
    for draw in (next(turn), next(turn), phases.real("fake real", 3, 6)):
        assert all(ends[c + 1] <= t <= ends[c] + 1e-6 for c, t in zip(draw.call, draw.t.tolist(), strict=True))


def test_a_student_learns_in_phases(data) -> None:
    config = dataclasses.replace(TWO, phases=True)
    assert all_calls_learn(task(data, config))
    for name, value in (("renoise", "deterministic"), ("lambda_g", 0.1)):
        with pytest.raises(ConfigError, match=f"phases = True with {name} = {value}"):
            check_student_run(teacher(), data, dataclasses.replace(config, **{name: value}))


@pytest.mark.parametrize("start", ["random", "teacher"])
def test_a_fake_model_that_is_told_the_call(data, start) -> None:
    run = task(data, dataclasses.replace(TWO, fake_sees_call=True, fake_start=start, alpha=0.9, beta=0.95))
    x, t = torch.randn(4, 2), torch.full((4,), 0.5)
    call = Condition(call=torch.tensor([0, 1, 0, 1]))
    before = run.fake(x, t, call)
    assert torch.equal(before, run.fake(x, t, Condition(call=1 - call["call"])))  # it has not learnt to tell them
    if start == "teacher":
        assert torch.equal(before, run.teacher(x, t))
    run.update(0)
    assert (run.fake(x, t, call) - run.fake(x, t, Condition(call=1 - call["call"]))).abs().min() > 1e-6
    pairs = run.fake.network.network.classes.weight
    assert pairs.shape[0] == 2 and pairs.abs().min() > 0  # both calls were seen


OBJECTIVES = {
    "realuid": {"alpha": 0.9, "beta": 0.95},
    "mixture": {"objective": "mixture"},
    "general": {"objective": "general", "alpha": 0.9, "gamma": 0.8},
    "normalised": {"objective": "normalised"},
    "dmd": {"objective": "dmd"},
    "data_forcing": {"objective": "data_forcing"},
    "sid": {"alpha_sid": 1.0, "normalise": True},
    "gan": {"lambda_g": 0.1},
}
#: Every objective on every kind of path that it is defined on.
GAMES = [(name, path) for name in OBJECTIVES for path in ("linear", "vp", "ve", "interpolant")]
GAMES.remove(("data_forcing", "interpolant"))


def all_calls_learn(run: DistillTask, condition: Condition | None = None) -> bool:
    """After an update, the student's predictions have changed at each of its times, and no others."""
    before, student = copy.deepcopy(run.generator), run.generator
    assert run.update(0)["generator/loss"].isfinite()
    x = torch.randn(4, 2)
    changes = [(student.predict(k, x, condition) - before.predict(k, x, condition)).abs() for k in range(student.calls)]
    return all(change.max() > 1e-3 for change in changes)


@pytest.mark.parametrize(("objective", "path"), GAMES)
def test_every_objective_trains_every_call(data, objective, path) -> None:
    torch.manual_seed(0)
    model = MatchingModel(build_network(NetworkConfig("mlp", (16,), 1), (2,)), make_path(path)).eval()
    own = {"calls": 3, "updates": 1, "batch": 6, "fake_updates": 1, "generator_lr": 1e-2, "device": "cpu"}
    config = DistillConfig(**own, **OBJECTIVES[objective])
    assert all_calls_learn(DistillTask(model, data, config, make_accelerator(config)))


@pytest.mark.parametrize("inputs", ["rollout", "data"])
def test_a_guided_conditional_bridge_trains_every_call(inputs) -> None:
    torch.manual_seed(0)
    values = torch.randn(30, 2)
    pairs = Dataset(values, torch.arange(30) % 3, "pairs", tuple("012"), sources=-values)
    network = build_network(NetworkConfig("mlp", (16,), 1), (2,), 4, sees_source=True)
    teacher = MatchingModel(network, make_path("brownian_bridge", noise=0.5), null_class=True).eval()
    config = dataclasses.replace(TWO, times=None, calls=2, guidance=2.0, fake_sees_call=True, call_inputs=inputs)
    check_student_run(teacher, pairs, config)
    run = DistillTask(teacher, pairs, config, make_accelerator(config))
    draw = run.generator_draws(0).generated
    assert draw.noised is None or torch.equal(draw.noised, -draw.x_T)  # the real image that belongs to the source
    assert all_calls_learn(run, Condition(label=torch.tensor([0, 1, 2, 0]), source=torch.randn(4, 2)))


def test_settings_that_contradict_each_other(data) -> None:
    with pytest.raises(ConfigError, match=r"the first of times is t_init. Pass one"):
        DistillConfig(times=TIMES, t_init=0.9)
    with pytest.raises(ConfigError, match="have to decrease"):
        DistillConfig(times=(0.4, 0.9)).make_student(teacher())
    with pytest.raises(ConfigError, match=r"calls = 3 with times = \(0.9, 0.4\): pass 3 times, or leave one out"):
        DistillConfig(times=TIMES, calls=3)
    with pytest.raises(ConfigError, match="calls = 0: must be at least 1"):
        DistillConfig(calls=0)
    for name, value in (("call_inputs", "data"), ("fake_sees_call", True), ("phases", True)):
        with pytest.raises(ConfigError, match=f"{name} = {value}: only for students of several calls. Pass --calls"):
            check_student_run(teacher(), data, dataclasses.replace(TWO, times=None, **{name: value}))


def test_sharded_processes_make_as_many_calls(data, monkeypatch) -> None:
    for name, value in {
        "WORLD_SIZE": "2",
        "RANK": "0",
        "LOCAL_RANK": "0",
        "MASTER_ADDR": "::1",
        "MASTER_PORT": "1",
    }.items():
        monkeypatch.setenv(name, value)
    check_student_run(teacher(), data, dataclasses.replace(TWO, shard=True))
    with pytest.raises(ConfigError, match="must be multiples of calls times processes, 4"):
        check_student_run(teacher(), data, dataclasses.replace(TWO, shard=True, batch=6))


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


def test_a_network_that_is_told_the_call_names_every_unit_once() -> None:
    """As FSDP wants them: it shards no module twice."""
    network = build_network(NetworkConfig(channels=(8, 16), blocks=1, attention_at=()), (1, 8, 8))
    units = _units(MatchingModel(told(network, 2), LinearPath()))
    assert len(units) == 5 and len(set(map(id, units))) == 5
