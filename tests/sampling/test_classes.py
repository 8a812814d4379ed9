"""Classes of samples: as given by number, name or tensor, and in the data's proportions where none are given."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch
from conftest import small_teacher

import realuid
from realuid.errors import CheckpointError
from realuid.exports.contract import Contract
from realuid.models import Student, from_pretrained, save_pretrained
from realuid.sampling import Sampling, spread_labels
from realuid.training import TeacherConfig, train_teacher

SETTINGS = realuid.DistillConfig(updates=1, batch=4, fake_updates=1, device="cpu")


def labels_of(model, count: int = 12, **options) -> list[int]:
    return Sampling(**options).condition_of(model, count)["label"].tolist()


def test_every_form_of_labels() -> None:
    model = small_teacher(num_classes=3)
    model.class_names = ("cat", "dog", "owl")
    expected = [1, 1, 1, 1]
    for given in (1, "dog", [1] * 4, ["dog"] * 4, ("dog", 1, "dog", 1), torch.ones(4, dtype=torch.int64)):
        assert labels_of(model, 4, labels=given) == expected


def test_equally_often_where_nothing_is_known() -> None:
    assert labels_of(small_teacher(num_classes=3), 7) == [0, 1, 2, 0, 1, 2, 0]


@pytest.mark.parametrize("count", [1, 7, 12, 1000])
def test_in_proportion_and_spread(count: int) -> None:
    labels = spread_labels([5, 0, 3, 1], count)
    found = Counter(labels.tolist())
    for label, share in enumerate((5 / 9, 0.0, 3 / 9, 1 / 9)):
        assert abs(found[label] - share * count) < 1
    for cut in range(count):  # no class gathers anywhere
        assert abs(int((labels[:cut] == 0).sum()) - 5 / 9 * cut) < 2


def test_a_conditional_student_draws_the_classes_of_its_data(digits, tmp_path: Path) -> None:
    rare = torch.cat([(digits.labels == c).nonzero().flatten()[: 90 if c < 2 else 10] for c in range(4)])
    data = digits.subset(rare)
    model = small_teacher(num_classes=10)
    student = realuid.distill(model, data, config=SETTINGS, out=tmp_path / "s", trust_teacher=True)
    assert model.class_counts == ()  # the user's own model stays as it is
    expected = {0: 9, 1: 9, 2: 1, 3: 1}
    assert Counter(labels_of(student, 20)) == expected
    loaded = realuid.load_generator(tmp_path / "s")
    assert Counter(labels_of(loaded, 20)) == expected and loaded.class_names == student.class_names
    assert Contract.of(student).about["class_counts"] == [90, 90, 10, 10, 0, 0, 0, 0, 0, 0]
    images = realuid.sample(student, 20)
    assert torch.equal(images, realuid.sample(student, 20, labels=labels_of(student, 20)))


def test_a_teacher_knows_the_classes_of_its_data(digits, tmp_path: Path) -> None:
    model = small_teacher(num_classes=10)
    trained = train_teacher(model, digits, TeacherConfig(updates=1, batch=4, device="cpu"), tmp_path)
    assert sum(trained.class_counts) == len(digits)


@pytest.mark.parametrize("written", [[1, -1], [1] * 4, [0, 0], "3", [1.5, 1], [True, 1], {}])
def test_damaged_counts_are_refused(written, tmp_path: Path) -> None:
    model = small_teacher(num_classes=3)
    model.class_counts = (1, 2, 3)
    save_pretrained(Student(model), tmp_path / "m")
    assert from_pretrained(tmp_path / "m").class_counts == (1, 2, 3)
    save_pretrained(Student(model), tmp_path / "m", class_counts=written)
    with pytest.raises(CheckpointError, match="class_counts"):
        from_pretrained(tmp_path / "m")
