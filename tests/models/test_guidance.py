"""Classifier-free guidance: the wrapper by its formula, label dropout, and what the distillation makes of it."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from realuid.data import Dataset
from realuid.errors import ConfigError
from realuid.models import (
    Condition,
    Generator,
    MatchingModel,
    NetworkConfig,
    build_network,
    from_pretrained,
    guided,
    save_pretrained,
)
from realuid.models.networks.specs import label_spec
from realuid.paths import BrownianBridge, LinearPath, VPPath
from realuid.recipes import DataConfig, PathConfig, Recipe
from realuid.recipes.run import new_teacher
from realuid.sampling import generate
from realuid.sampling.sample import _normals
from realuid.training import DistillConfig, DistillTask, TeacherConfig, TeacherTask
from realuid.training.accelerate import make_accelerator
from realuid.training.batches import Batches, DrawOptions
from realuid.training.compatibility import check_teacher_run
from realuid.training.updates import generator_loss

CLASSES = 3


def model(path=None, sees_source: bool = False) -> MatchingModel:
    torch.manual_seed(0)
    network = build_network(NetworkConfig("mlp", (16,), 2), (2,), CLASSES + 1, sees_source)
    return MatchingModel(network, path or LinearPath(), null_class=True).eval()


@pytest.fixture
def data() -> Dataset:
    g = torch.Generator().manual_seed(0)
    return Dataset(torch.randn(60, 2, generator=g), torch.arange(60) % CLASSES, "points", tuple("012"))


@pytest.mark.parametrize(
    ("path", "space"),
    [(LinearPath(), "velocity"), (VPPath(), "data_prediction"), (BrownianBridge(), "velocity"), (VPPath(), "score")],
)
def test_guided_is_the_null_prediction_plus_scale_times_the_difference(path, space: str) -> None:
    plain = model(path, sees_source=path.coupled)
    g = torch.Generator().manual_seed(1)
    x, x_T, t = torch.randn(5, 2, generator=g), torch.randn(5, 2, generator=g), torch.rand(5, generator=g) * 0.8 + 0.1
    labels = torch.tensor([0, 1, 2, 0, 1])
    x_T = x_T if path.coupled else None
    with_label = plain(x, t, Condition(label=labels, source=x_T), space)
    without = plain(x, t, Condition(label=torch.full((5,), CLASSES), source=x_T), space)
    got = guided(plain, 2.5)(x, t, Condition(label=labels, source=x_T), space)
    assert torch.allclose(got, 2.5 * with_label - 1.5 * without, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(with_label, without, atol=1e-3)
    assert guided(plain, 1.0) is plain


def test_the_null_class_is_saved_and_not_counted(tmp_path) -> None:
    save_pretrained(model(), tmp_path / "model")
    back = from_pretrained(tmp_path / "model")
    assert back.null_class and back.num_classes == CLASSES and back.network.num_classes == CLASSES + 1


def test_models_without_a_null_class_cannot_be_guided(data) -> None:
    plain = MatchingModel(build_network(NetworkConfig("mlp", (8,), 1), (2,), CLASSES), LinearPath())
    with pytest.raises(ConfigError, match=r"guidance = 2: the model was not trained without labels"):
        guided(plain, 2.0)
    with pytest.raises(ConfigError, match="a null class needs a class beside it"):
        MatchingModel(build_network(NetworkConfig("mlp", (8,), 1), (2,)), LinearPath(), null_class=True)
    config = TeacherConfig(batch=8, label_dropout=0.1, device="cpu")
    with pytest.raises(ConfigError, match=r"label_dropout = 0.1: the model has no null class"):
        check_teacher_run(plain, data, config)


def test_label_dropout_replaces_its_share_of_labels_and_nothing_else(data) -> None:
    plain = Batches(data, LinearPath(), seed=1)
    options, specs = DrawOptions(label_dropout=0.25), [label_spec(CLASSES, null=CLASSES)]
    dropping = Batches(data, LinearPath(), seed=1, conditions=specs, options=options)
    dropped = 0
    for step in range(40):
        a, b = plain.real("teacher", step, 50), dropping.real("teacher", step, 50)
        assert torch.equal(a.x_0, b.x_0) and torch.equal(a.t, b.t) and torch.equal(a.x_T, b.x_T)
        null = b.condition["label"] == CLASSES
        assert torch.equal(a.condition["label"][~null], b.condition["label"][~null])
        dropped += int(null.sum())
    assert dropped / 2000 == pytest.approx(0.25, abs=0.03)


def test_a_recipe_with_label_dropout_makes_a_teacher_with_a_null_class(data) -> None:
    recipe = Recipe(
        data=DataConfig(conditional=True),
        network=NetworkConfig("mlp", (8,), 1),
        path=PathConfig("vp"),
        teacher=TeacherConfig(label_dropout=0.1, batch=8, device="cpu"),
    )
    teacher = new_teacher(recipe, data)
    assert teacher.null_class and teacher.num_classes == CLASSES
    task = TeacherTask(teacher, data, recipe.teacher, make_accelerator(recipe.teacher))
    assert task.update(0)["teacher/loss"].isfinite()
    with pytest.raises(ConfigError, match=r"needs data.conditional = True"):
        new_teacher(Recipe(network=recipe.network, teacher=recipe.teacher), data)


# path, its (a, b, c), and (p, q) of the target y = p x_0 + q x_T in the path's own space
FAMILIES = [
    (LinearPath(), lambda t: (1 - t, t, 0.0), (-1, 1)),
    (
        VPPath(),
        lambda t: (math.exp(-0.05 * t - 4.975 * t**2), (1 - math.exp(-0.1 * t - 9.95 * t**2)) ** 0.5, 0.0),
        (0, 1),
    ),
    (BrownianBridge(noise=0.5), lambda t: (1 - t, t, 0.5 * (t * (1 - t)) ** 0.5), (1, 0)),
]


@pytest.mark.parametrize(("path", "abc", "pq"), FAMILIES, ids=lambda v: getattr(v, "name", ""))
def test_distillation_follows_the_guided_teacher(data, path, abc, pq) -> None:
    """The generator's loss by hand, of two calls of the teacher a sample; the fake model and G are asked once."""
    sources = torch.randn(60, 2, generator=torch.Generator().manual_seed(2)) if path.coupled else None
    data = Dataset(data.values, data.labels, "points", tuple("012"), sources=sources)
    teacher = model(path, sees_source=path.coupled)
    config = DistillConfig(batch=8, guidance=3.0, alpha=0.9, beta=0.8, device="cpu")
    task = DistillTask(teacher, data, config, make_accelerator(config))
    draw = task.batches.generated("generator", 0, 8)
    expected = 0.0
    for i in range(8):
        t, label, z, x_T = draw.t[i : i + 1], draw.condition["label"][i : i + 1], draw.z[i : i + 1], draw.x_T[i : i + 1]
        given = x_T if path.coupled else None
        here = Condition(label=label, source=given)
        x_0 = Generator(teacher)(z, here)  # from the teacher as it is: a student knows no guidance
        torch.testing.assert_close(task.generator(z, here), x_0)
        (a, b, c), (p, q) = abc(float(t)), pq
        x_t, y = a * x_0 + b * x_T + (c * draw.eps[i : i + 1] if c else 0), p * x_0 + q * x_T
        with_label = teacher(x_t, t, here)
        without = teacher(x_t, t, Condition(label=torch.tensor([CLASSES]), source=given))
        errors = [f - 0.8 / 0.9 * y for f in (3 * with_label - 2 * without, task.fake(x_t, t, here))]
        expected += 0.9 * ((errors[0] ** 2).sum() - (errors[1] ** 2).sum()).item() / 8
    loss = generator_loss(task.generator, task.fake, task.game, draw, 8).loss
    assert loss.item() == pytest.approx(expected, rel=1e-4)
    assert type(task.generator.model) is MatchingModel and type(task.fake) is MatchingModel
    assert task.generator.model.num_classes == CLASSES
    assert not any(p.requires_grad for p in task.teacher.parameters())
    assert task.update(0)["generator/loss"].isfinite()


def test_guided_samples_lie_on_the_guided_flow() -> None:
    plain, labels = model(), torch.tensor([0, 1, 2, 2])
    x = torch.cat(list(generate(plain, 4, labels=labels, steps=1, sampler="euler", guidance=2.0, seed=3)))
    z = torch.stack(list(itertools.islice(_normals((2,), seed=3), 4)))
    velocity = guided(plain, 2.0)(z, torch.ones(4), Condition(label=labels))
    assert torch.allclose(x, z - velocity, atol=1e-5)
