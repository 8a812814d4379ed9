"""Measuring: classes as the data has them, rare classes, images that are no squares, damaged caches."""

from __future__ import annotations

import dataclasses
import struct
from pathlib import Path

import pytest
import torch
from torch import nn

import realuid
from realuid.data import Dataset, load_dataset
from realuid.metrics import Classifier, Evaluator, classifier, make_extractor, train_classifier
from realuid.metrics.cache import cache_folder, read_cached, write_cached
from realuid.metrics.features import _rotated
from realuid.models import MatchingModel, NetworkConfig, build_network
from realuid.on_data import conditions
from realuid.paths import LinearPath
from realuid.recipes import EvaluateConfig
from realuid.recipes.evaluate import evaluate_model, make_evaluator

SMALL = NetworkConfig(channels=(8, 8), blocks=1, attention_at=())


@pytest.fixture(autouse=True)
def quick(monkeypatch, tmp_path: Path) -> None:
    """A classifier that is trained in a moment, and a cache of one's own."""
    monkeypatch.setenv("REALUID_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(train_classifier, "__defaults__", (0, 60, 64))


def model_of(classes: int, shape: tuple[int, ...] = (1, 8, 8)) -> MatchingModel:
    torch.manual_seed(0)
    return MatchingModel(build_network(SMALL, shape, classes), LinearPath()).eval()


def images(count: int, shape: tuple[int, ...] = (1, 8, 8)) -> torch.Tensor:
    return torch.randint(0, 256, (count, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("count", "expected"), [(10, [7, 2, 1, 0]), (7, [5, 1, 1, 0]), (1, [1, 0, 0, 0])])
def test_samples_are_asked_for_classes_as_the_data_has_them(count: int, expected: list[int]) -> None:
    """Frequencies of 70, 20, 10 and 0 %; the largest remainders get what rounding leaves."""
    labels = torch.tensor([0] * 14 + [1] * 4 + [2] * 2)
    data = Dataset(images(20), labels, classes=tuple("abcd"))
    asked = conditions(model_of(6), data, count)["label"]
    assert torch.bincount(asked, minlength=4).tolist() == expected


def test_classes_in_balance_come_in_turn() -> None:
    data = Dataset(images(12), torch.arange(12) % 3, classes=tuple("abc"))
    assert conditions(model_of(3), data, 8)["label"].tolist() == [0, 1, 2, 0, 1, 2, 0, 1]


def test_uneven_classes_are_spread_over_all_samples() -> None:
    """So that any part of them, a page of a grid or a process's share, has them, too."""
    data = Dataset(images(100), (torch.arange(100) >= 75).long(), classes=tuple("ab"))
    asked = conditions(model_of(2), data, 400)["label"]
    for part in asked.split(40):
        assert part.sum() == 10


class Perfect(nn.Module):
    """At time 1, answers with a random real image of each label."""

    def __init__(self, data: Dataset):
        super().__init__()
        self.pool = [data.values[data.labels == c].float() / 127.5 - 1 for c in range(data.num_classes)]
        self.unused = nn.Parameter(torch.zeros(1))
        self.random = torch.Generator().manual_seed(0)

    def forward(self, x, time, labels):
        pools = [self.pool[int(y)] for y in labels]
        x_0 = torch.stack([p[torch.randint(len(p), (1,), generator=self.random)[0]] for p in pools])
        return (x - x_0) / time.view(-1, 1, 1, 1)


@pytest.mark.parametrize("kind", ["uneven classes", "more embeddings than classes"])
def test_fd_of_a_perfect_sampler_is_that_of_real_data(kind: str, digits) -> None:
    if kind == "uneven classes":
        keep = [(digits.labels == c).nonzero().flatten()[: 170 if c < 2 else 6] for c in range(10)]
        data, embeddings = digits.subset(torch.cat(keep)), 10
    else:
        five = digits.subset((digits.labels < 5).nonzero().flatten())
        data, embeddings = dataclasses.replace(five, classes=tuple("01234")), 6
    teacher = realuid.Teacher(Perfect(data), (1, 8, 8), num_classes=embeddings)
    config = EvaluateConfig(samples=800, seeds=1)
    evaluator = make_evaluator(data, config)
    fd = evaluate_model(realuid.Generator(teacher, t_init=1.0), evaluator, config, full=False).fd[0]
    random = torch.Generator().manual_seed(2)
    drawn = data.values[torch.randint(len(data), (800,), generator=random)]
    assert fd < 3 * evaluator.distance(data.values, drawn) + 0.01


@pytest.mark.parametrize(
    ("labels", "samples", "without"),
    [
        ([i % 3 + 1 for i in range(42)], 42, {0}),
        ([i % 3 for i in range(41)] + [3], 42, {3}),
        ([i % 3 for i in range(42)], 5, {2}),
    ],
)
def test_classes_with_too_few_images_have_no_figure(labels: list[int], samples: int, without: set[int]) -> None:
    data = Dataset(images(42), torch.tensor(labels), classes=tuple(map(str, range(max(labels) + 1))))
    found = realuid.evaluate(model_of(data.num_classes), data, EvaluateConfig(samples=samples, seeds=1, steps=1))
    assert found.fd[0] > 0 and found.classes is not None
    assert {c for c, fd in enumerate(found.classes.fd_by_class) if fd is None} == without
    assert all(fd > 0 for c, fd in enumerate(found.classes.fd_by_class) if c not in without)


@pytest.mark.parametrize("shape", [(1, 6, 10), (3, 12, 5), (1, 4, 16)])
@pytest.mark.parametrize("labelled", [True, False])
def test_images_that_are_no_squares_are_measured(shape: tuple[int, ...], labelled: bool) -> None:
    data = Dataset(images(24, shape), torch.arange(24) % 2, classes=tuple("ab"))
    data = data if labelled else data.without_labels()
    extractor = make_extractor("classifier", data)
    scores = Evaluator(data, extractor).score([data.values.float() / 127.5 - 1])
    assert abs(scores.fd) < 1e-2 and scores.precision == scores.recall == 1


def test_the_middle_of_images_that_are_no_squares_is_turned() -> None:
    x = torch.arange(8, dtype=torch.uint8).view(1, 1, 2, 4).repeat(4, 1, 1, 1)
    turned = _rotated(x, torch.arange(4))
    assert turned[:, 0].tolist() == [
        [[0, 1, 2, 3], [4, 5, 6, 7]],
        [[0, 2, 6, 3], [4, 1, 5, 7]],
        [[0, 6, 5, 3], [4, 2, 1, 7]],
        [[0, 5, 1, 3], [4, 6, 2, 7]],
    ]


@pytest.mark.parametrize("labels", [None, [0] * 12, [1] * 12])
def test_one_class_trains_a_classifier_of_rotations(labels: list[int] | None) -> None:
    given = {} if labels is None else {"labels": torch.tensor(labels), "classes": ("a", "b")}
    model, _ = train_classifier(Dataset(images(12), **given), updates=2)
    assert model.head.out_features == 4


def test_images_that_are_all_the_same_have_finite_features() -> None:
    data = Dataset(torch.full((12, 1, 8, 8), 7, dtype=torch.uint8))
    model, _ = train_classifier(data, updates=2)
    assert model(data.values).isfinite().all()


# --- the cache ---


@pytest.mark.parametrize("kind", ["statistics", "classifier"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "header", "empty", "without checksum"])
def test_what_is_damaged_in_the_cache_is_made_anew(kind: str, damage: str, digits) -> None:
    data = digits.subset(slice(0, 60))
    half = data.values[:30]
    whole = make_evaluator(data, EvaluateConfig()).distance(half, data.values[30:])
    (path,) = cache_folder().glob(f"{kind}*.safetensors")
    good = path.read_bytes()
    body = struct.unpack("<Q", good[:8])[0] + 8
    bad = bytearray(good)
    if damage == "cut":
        bad = bad[:500]
    elif damage == "flipped":
        bad[body + (len(good) - body) // 2] ^= 8
    elif damage == "header":
        place = good.index(b"dtype")
        bad[place : place + 5] = b"dtypo"
    elif damage == "empty":
        bad = bytearray()
    else:
        place = good.index(b"sha256")
        bad[place : place + 6] = b"sha999"
    path.write_bytes(bytes(bad))
    evaluator = make_evaluator(data, EvaluateConfig())
    assert evaluator.distance(half, data.values[30:]) == pytest.approx(whole, rel=1e-6)
    assert path.read_bytes()[body:] == good[body:]


def test_cached_tensors_are_those_that_were_written() -> None:
    tensors = {"a": torch.arange(6).view(2, 3), "b": torch.rand(4)}
    write_cached("some", tensors, accuracy="1")
    again = read_cached("some")
    assert again is not None and all(torch.equal(again[k], tensors[k]) for k in tensors)
    assert read_cached("other") is None


def test_a_cached_classifier_is_not_trained_again(monkeypatch) -> None:
    data = load_dataset("digits").subset(slice(0, 60))
    first = classifier(data)
    monkeypatch.setattr("realuid.metrics.features.train_classifier", None)
    again = classifier(data)
    assert isinstance(again, Classifier) and torch.equal(first.head.weight, again.head.weight)
