"""Coupled paths: pairs stay pairs, the losses are Def. 5's; and every family runs from training to one-step samples."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest
import torch
from conftest import shown

from realuid.data import Dataset, load_dataset
from realuid.errors import ConfigError, DataError, PredictionError
from realuid.models import Condition, Generator, MatchingModel, NetworkConfig, Student, build_network, from_pretrained
from realuid.models.preconditioning import make_preconditioning
from realuid.objectives import RealUID
from realuid.on_data import conditions, sample_image
from realuid.paths import BrownianBridge, InterpolantPath, heads, make_path
from realuid.processes import Part
from realuid.recipes import EvaluateConfig, PathConfig, Recipe
from realuid.recipes.evaluate import evaluate_model, make_evaluator
from realuid.recipes.run import new_teacher
from realuid.sampling import generate
from realuid.training import DistillConfig, DistillTask, TeacherConfig, distill_teacher, train_teacher
from realuid.training.accelerate import make_accelerator
from realuid.training.batches import Batches
from realuid.training.compatibility import check_student_run
from realuid.training.updates import fake_loss, generator_loss, teacher_loss

BRIDGE = BrownianBridge(noise=0.5)


@pytest.fixture
def pairs() -> Dataset:
    """Every source is the negative of its value; the label can be read off the top left pixel."""
    values = torch.randint(0, 256, (40, 1, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    labels = torch.arange(40) % 5
    values[:, 0, 0, 0] = values[:, 0, 0, -1] = 50 * labels.to(torch.uint8)
    return Dataset(values, labels, "pairs", tuple("01234"), sources=255 - values)


def bridge_model(sees_source: bool = True, classes: int = 0, path=BRIDGE, prediction=None) -> MatchingModel:
    torch.manual_seed(0)
    config = NetworkConfig(channels=(8, 16), blocks=1, attention_at=())
    network = build_network(config, (1, 8, 8), classes, sees_source, heads(prediction or path.default_prediction))
    return MatchingModel(network, path, prediction)


@pytest.mark.parametrize("flip", [False, True])
def test_real_pairs_and_sources_of_generated_samples_stay_together(pairs, flip: bool) -> None:
    batches = Batches(pairs, BRIDGE, seed=3, flip=flip)
    real, generated = batches.real("real", 2, 24), batches.generated("fake", 2, 24)
    assert torch.allclose(real.x_T, -real.x_0, atol=1e-6) and torch.equal(real.condition["source"], real.x_T)
    assert torch.equal(generated.condition["source"], generated.x_T) and generated.x_0 is None
    for draw in (real, generated):
        corner = ((1 - draw.x_T[:, 0, 0, 0]) * 127.5).round() / 50  # of the value that belongs to x_T
        assert torch.equal(corner.long(), draw.condition["label"])
    sources = 1 - pairs.values.float() / 127.5
    as_stored = [min((s - x).abs().max() for s in sources) < 1e-5 for x in generated.x_T]
    assert any(as_stored) and all(as_stored) != flip


def test_processes_share_one_batch_of_pairs(pairs) -> None:
    whole = Batches(pairs, BRIDGE, seed=1, flip=True)
    parts = [Batches(pairs, BRIDGE, seed=1, flip=True, part=Part(r, 3)) for r in range(3)]
    for role in ("real", "generated"):
        full, split = getattr(whole, role)("x", 4, 10), [getattr(p, role)("x", 4, 10) for p in parts]
        for name in ("x_T", "eps", "t"):
            assert torch.equal(torch.cat([getattr(s, name) for s in split]), getattr(full, name))
        assert torch.equal(torch.cat([s.condition["source"] for s in split]), full.x_T)


def point(draw, i: int, x_0: torch.Tensor) -> torch.Tensor:
    """x_t of a Brownian bridge of s = 0.5."""
    t = draw.t[i]
    return (1 - t) * x_0 + t * draw.x_T[i : i + 1] + 0.5 * math.sqrt(t * (1 - t)) * draw.eps[i : i + 1]


@pytest.mark.parametrize("sees_source", [True, False])
def test_losses_are_those_of_definition_5_by_brute_force(pairs, sees_source: bool) -> None:
    config = DistillConfig(batch=16, alpha=0.9, beta=0.8, device="cpu")
    task = DistillTask(bridge_model(sees_source), pairs, config, make_accelerator(config))
    generated, real = task.batches.generated("g", 0, 8), task.batches.real("r", 0, 3)
    a, b, fake_total, generator_total = 0.9, 0.8, 0.0, 0.0

    def network(model, draw, i, x_t):
        condition = Condition(source=draw.x_T[i : i + 1]) if sees_source else None
        return model(x_t, draw.t[i : i + 1], condition)

    for i in range(8):
        x_0 = task.generator(generated.z[i : i + 1], Condition(source=generated.x_T[i : i + 1]))
        x_t = point(generated, i, x_0)
        f, star = network(task.fake, generated, i, x_t), network(task.teacher, generated, i, x_t)
        fake_total += a * ((f - b / a * x_0) ** 2).sum().item() / 8
        generator_total += a * (((star - b / a * x_0) ** 2).sum() - ((f - b / a * x_0) ** 2).sum()).item() / 8
    for i in range(3):
        x_0 = real.x_0[i : i + 1]
        f = network(task.fake, real, i, point(real, i, x_0))
        fake_total += (1 - a) * ((f - (1 - b) / (1 - a) * x_0) ** 2).sum().item() / 3

    game = task.game
    assert game.space == "data_prediction"
    loss = fake_loss(task.fake, game, shown(task.generator, generated), real, 8, 3)
    assert loss.item() == pytest.approx(fake_total, rel=1e-4)
    loss = generator_loss(task.generator, task.fake, game, generated, 8)
    assert loss.loss.item() == pytest.approx(generator_total, rel=1e-3)


def test_generators_start_from_the_source_with_noise_or_without(pairs) -> None:
    model = bridge_model().eval()
    g = torch.Generator().manual_seed(1)
    z, other, x_T = (torch.randn(4, 1, 8, 8, generator=g) for _ in range(3))
    given = Condition(source=x_T)
    noisy, plain = Generator(model, t_init=0.6), Generator(model, t_init=0.6, noise=False)
    k = 0.5 * math.sqrt(0.6 * 0.4)
    expected = model(0.6 * x_T + k * z, torch.full((4,), 0.6), given, "data_prediction")
    assert torch.allclose(noisy(z, given), expected, atol=1e-6)
    assert torch.equal(plain(z, given), plain(other, given)) and not torch.equal(noisy(z, given), noisy(other, given))
    assert torch.allclose(plain(z, given), model(0.6 * x_T, torch.full((4,), 0.6), given), atol=1e-6)


def test_generators_without_noise_need_a_source() -> None:
    network = build_network(NetworkConfig("mlp", (8,), 1), (2,))
    with pytest.raises(ConfigError, match=r"noise = False.*'linear' is none"):
        Generator(MatchingModel(network, make_path("linear")), noise=False)


def test_what_does_not_follow_from_the_prediction_is_refused_before_anything_is_written(pairs, tmp_path: Path) -> None:
    teacher = bridge_model(sees_source=False, path=InterpolantPath(coupled=True), prediction="velocity")
    config = DistillConfig(batch=8, updates=1, device="cpu")
    with pytest.raises(PredictionError, match="cannot turn velocity into data_prediction"):
        distill_teacher(teacher, pairs, config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_both_heads_of_a_teacher_learn(pairs) -> None:
    path = InterpolantPath(coupled=True, noise=0.5)
    model = bridge_model(sees_source=False, path=path, prediction="velocity_and_noise")
    draw = Batches(pairs, path, seed=1).real("x", 0, 8)
    expected = 0.0
    for i in range(8):
        t, x_0, x_T, eps = draw.t[i].item(), draw.x_0[i], draw.x_T[i], draw.eps[i]
        gamma = 0.5 * math.sqrt(2 * t * (1 - t))
        x_t = (1 - t) * x_0 + t * x_T + gamma * eps
        velocity, noise = model(x_t[None], draw.t[i : i + 1])[0].chunk(2)
        gamma_dot = 0.5 * (1 - 2 * t) / math.sqrt(2 * t * (1 - t))
        error = ((velocity - (x_T - x_0 + gamma_dot * eps)) ** 2).sum() + ((noise - eps) ** 2).sum()
        expected += error.item() / (1 + gamma_dot**2) / 8
    assert teacher_loss(model, path, model.prediction, draw, 8).item() == pytest.approx(expected, rel=1e-4)


def test_a_teacher_of_two_heads_is_distilled_in_both(pairs) -> None:
    config = DistillConfig(batch=8, device="cpu")
    teacher = bridge_model(sees_source=False, path=InterpolantPath(coupled=True), prediction="velocity_and_noise")
    task = DistillTask(teacher, pairs, config, make_accelerator(config))
    assert task.game.space == "velocity_and_noise" and task.game.objective == RealUID()


def test_fine_tuning_keeps_a_generator_without_noise(pairs) -> None:
    teacher, quiet = bridge_model(), Generator(bridge_model(), t_init=0.9, noise=False)
    config = DistillConfig(batch=8, device="cpu")
    task = DistillTask(teacher, pairs, config, make_accelerator(config), start=quiet)
    assert task.generator.noise is False and task.generator.t_init == 0.9
    assert config.of_student(quiet) == DistillConfig(batch=8, device="cpu", t_init=0.9, noise=False)
    with pytest.raises(ConfigError, match="noise = True, but the generator to start from has False"):
        check_student_run(teacher, pairs, dataclasses.replace(config, noise=True), quiet)


def test_coupled_paths_need_pairs(digits, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a coupled path needs pairs, but 'digits' has none"):
        train_teacher(bridge_model(), digits, TeacherConfig(batch=8, updates=1, device="cpu"), tmp_path / "run")
    with pytest.raises(DataError, match="needs pairs"):
        distill_teacher(bridge_model(), digits, DistillConfig(batch=8, updates=1, device="cpu"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(ConfigError, match="pass sources"):
        next(generate(bridge_model(), 3))


def test_conditions_are_those_of_the_pairs_in_turn(pairs) -> None:
    given = conditions(bridge_model(classes=5), pairs, 50)
    assert torch.equal(given["label"], (torch.arange(50) % 40) % 5)
    assert torch.allclose(given["source"][41], 1 - pairs.values[1].float() / 127.5, atol=1e-6)
    assert list(conditions(bridge_model(), pairs, 5)) == ["source"]
    network = build_network(NetworkConfig(channels=(8,), attention_at=()), (1, 8, 8), 5)
    given = conditions(MatchingModel(network, make_path("linear")), pairs, 7)
    assert given["label"].tolist() == [0, 1, 2, 3, 4, 0, 1] and "source" not in given


def test_pictures_of_pairs_show_input_sample_and_truth(pairs) -> None:
    sample = torch.zeros(1, 1, 8, 8)
    picture = torch.tensor(list(sample_image(bridge_model(), pairs, sample).getdata())).view(68, 12 * 66 + 2)
    for place, image in enumerate((pairs.sources[0, 0], torch.full((8, 8), 128), pairs.values[0, 0])):
        left = 2 + 66 * place
        assert torch.equal(picture[2:66, left : left + 64][::8, ::8], image.long())


FAMILIES = {
    "trigonometric flow": (PathConfig("trigonometric"), {}),
    "vp": (PathConfig("vp"), {}),
    "vp, v": (PathConfig("vp", "v_prediction"), {"space": "v_prediction"}),
    "cosine, score": (PathConfig("cosine"), {"space": "score"}),
    "ddpm": (PathConfig("ddpm", settings={"num_train_timesteps": 100}), {}),
    "edm": (PathConfig("ve", preconditioning="edm"), {}),
    "brownian": (PathConfig("brownian_bridge", settings={"noise": 0.5}), {}),
    "brownian, drift": (PathConfig("brownian_bridge", "drift"), {}),
    "brownian, x_T not seen": (PathConfig("brownian_bridge", sees_source=False), {}),
    "brownian, without noise": (PathConfig("brownian_bridge"), {"noise": False, "t_init": 0.9}),
    "i2sb": (PathConfig("i2sb"), {}),
    "vp bridge": (PathConfig("vp_bridge"), {}),
    "ve bridge": (PathConfig("ve_bridge"), {}),
    "interpolant": (PathConfig("interpolant", settings={"gamma": "sin2"}), {}),
    "interpolant, both": (PathConfig("interpolant", "velocity_and_noise", {"mean": "trigonometric"}), {}),
    "interpolant, coupled": (PathConfig("interpolant", settings={"coupled": True}), {}),
    "interpolant, coupled, x_T not seen, both": (
        PathConfig("interpolant", "velocity_and_noise", {"coupled": True, "gamma": "sin2"}, sees_source=False),
        {},
    ),
}


@pytest.mark.parametrize(("name", "conditional"), [(n, True) for n in FAMILIES] + [("vp", False), ("brownian", False)])
def test_every_family_runs_from_training_to_one_step_samples(name: str, conditional: bool, pairs, tmp_path) -> None:
    path, settings = FAMILIES[name]
    network = NetworkConfig(channels=(8, 16), blocks=1, attention_at=())
    teacher_config = TeacherConfig(updates=2, batch=8, device="cpu", log_every=0, sample_every=2, steps=3)
    recipe = Recipe(network=network, path=path, teacher=teacher_config)
    recipe = Recipe(**{**vars(recipe), "data": type(recipe.data)(conditional=conditional)})
    teacher = train_teacher(new_teacher(recipe, pairs), pairs, teacher_config, tmp_path / "teacher")
    common = {"updates": 2, "batch": 8, "fake_updates": 1, "device": "cpu", "log_every": 1, "sample_every": 2}
    config = DistillConfig(alpha=0.9, beta=0.95, **common, **settings)
    student = distill_teacher(teacher, pairs, config, tmp_path / "student")
    saved = from_pretrained(tmp_path / "student" / "model")
    assert student.noise == saved.noise == (config.noise is not False)
    assert (tmp_path / "student" / "samples" / "0000002.png").is_file()
    given, untrained = conditions(teacher, pairs, 9), Student(teacher, student.times, student.noise)
    for model in (teacher, student):
        x = torch.cat(list(generate(model, 9, condition=given, steps=3, batch=4)))
        assert x.shape == (9, 1, 8, 8) and x.isfinite().all()
        again = torch.cat(list(generate(model, 9, condition=given, steps=3, batch=9)))
        assert torch.allclose(x, again, atol=1e-4)
    ours, read, before = (torch.cat(list(generate(m, 9, condition=given))) for m in (student, saved, untrained))
    assert torch.equal(read, ours) and not torch.equal(before, ours)
    for name in [spec.name for spec in student.conditions]:  # what the network reads has an effect
        other = given.replace(**{name: given[name].flip(0)})
        assert not torch.equal(torch.cat(list(generate(student, 9, condition=other))), ours)


def test_models_of_coupled_points_are_measured() -> None:
    toy = load_dataset("toy:moons").subset(slice(0, 500))
    data = Dataset(toy.values, name="pairs of points", sources=toy.values + 0.3)
    network = build_network(NetworkConfig("mlp", (8,), 1), (2,), sees_source=True)
    model = MatchingModel(network, BRIDGE, preconditioning=make_preconditioning("plain"))
    config = EvaluateConfig(samples=300, seeds=1, steps=2)
    measured = evaluate_model(model, make_evaluator(data, config), config)
    assert measured.calls == 2 and math.isfinite(measured.fd[0])
