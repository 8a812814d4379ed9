"""Runs on data that is not in memory: the same bits as on data in memory, and never many rows at a time."""

from __future__ import annotations

import dataclasses
from functools import partial

import pytest
import torch
from conftest import small_teacher
from stored import Stored, stored

from realuid.loaders.check import check_teacher
from realuid.metrics import features
from realuid.metrics.features import classifier, train_classifier
from realuid.models import fingerprint
from realuid.paths import BrownianBridge
from realuid.processes import Part
from realuid.recipes import EvaluateConfig
from realuid.recipes.evaluate import evaluate_model, fd_between_halves, make_evaluator
from realuid.reports.report import _grid_of_data
from realuid.training import DistillConfig, distill_teacher
from realuid.training.batches import Batches


def test_a_distillation_is_bit_identical(tmp_path, digits) -> None:
    config = DistillConfig(
        alpha=0.96, beta=0.98, updates=3, batch=16, fake_updates=2, sample_every=0, device="cpu", flip=True
    )
    found = {}
    for name, data in {"memory": digits, "stored": stored(digits)}.items():
        found[name] = fingerprint(distill_teacher(small_teacher(num_classes=10), data, config, tmp_path / name))
    assert found["memory"] == found["stored"]


@pytest.mark.parametrize("world", [1, 2])
def test_batches_are_read_ahead_once_by_workers(digits, world: int) -> None:
    bridge = BrownianBridge(noise=0.5)
    data = dataclasses.replace(digits, sources=255 - digits.values)
    lazy = stored(data, most=20)
    for rank in range(world):
        ours, theirs = (Batches(d, bridge, 1, True, Part(rank, world)) for d in (lazy, data))
        for step in range(100):  # an epoch has 90 steps
            for draw, right in (
                (ours.real("real", step, 20), theirs.real("real", step, 20)),
                (ours.generated("fake", step, 20), theirs.generated("fake", step, 20)),
            ):
                assert torch.equal(draw.x_T, right.x_T) and torch.equal(draw.t, right.t)
                assert right.x_0 is None or torch.equal(draw.x_0, right.x_0)
                assert torch.equal(draw.condition["label"], right.condition["label"])
    values = lazy.values
    assert isinstance(values, Stored)
    known = values.reads[: 100 * world]
    assert len(set(map(tuple, known))) == len(known)
    assert sum(not name.startswith("realuid-data") for name in values.threads) == world  # the first batch of each


@pytest.fixture
def quick_classifiers(monkeypatch, tmp_path) -> None:
    """Of three updates, in a cache of their own."""
    monkeypatch.setenv("REALUID_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(features, "train_classifier", partial(train_classifier, updates=3, batch=16))


@pytest.mark.usefixtures("quick_classifiers")
def test_everything_that_measures_reads_rows(digits) -> None:
    config = EvaluateConfig(samples=40, seeds=1, steps=2)
    model = small_teacher(num_classes=10)
    figures = []
    for data, checked in ((digits, digits), (stored(digits), stored(digits, most=2000))):
        trained, accuracy = train_classifier(data, updates=3, batch=16)
        unlabelled, _ = train_classifier(data.without_labels(), updates=3, batch=16)
        evaluator = make_evaluator(data, config)
        evaluation = evaluate_model(model, evaluator, config)
        figures.append(
            (
                *(fingerprint(trained), accuracy, fingerprint(unlabelled), evaluation.to_dict()),
                *(fd_between_halves(evaluator, 1), check_teacher(model, checked, images=8).declared.errors),
                _grid_of_data(data, 10).tobytes(),
            )
        )
    assert figures[0] == figures[1]


@pytest.mark.usefixtures("quick_classifiers")
def test_statistics_of_stored_data_are_cached_by_its_fingerprint(digits) -> None:
    data = stored(digits.subset(slice(0, 200)), most=500)
    first = classifier(data)
    data.values._most = 0
    assert fingerprint(classifier(data)) == fingerprint(first)
