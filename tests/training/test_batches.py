"""Draws: of seed, role and step alone, shared by processes, stratified over the whole batch."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
import torch
from conftest import small_teacher

from realuid.data import Dataset, to_float
from realuid.paths import BrownianBridge
from realuid.processes import Part
from realuid.training.batches import Batches, DrawOptions
from realuid.training.draws import micro_batches


def test_draws_depend_on_seed_role_and_step_alone(data) -> None:
    path = small_teacher().path
    first = Batches(data, path, seed=1).generated("a", 3, 6)
    torch.randn(7)
    again = Batches(data, path, seed=1).generated("a", 3, 6)
    assert torch.equal(first.z, again.z) and torch.equal(first.t, again.t)
    for other in (Batches(data, path, seed=2).generated("a", 3, 6), Batches(data, path, seed=1).generated("b", 3, 6)):
        assert not torch.equal(first.z, other.z)


@pytest.mark.parametrize("coupled", [False, True])
def test_a_turn_is_of_the_same_samples_at_other_times_with_other_noise(data, coupled: bool) -> None:
    path = BrownianBridge(noise=0.5) if coupled else small_teacher().path
    data = dataclasses.replace(data, sources=255 - data.values) if coupled else data
    batches = Batches(data, path, seed=1, flip=True)
    turn = list(itertools.islice(batches.turn("a", 3, 6), 4))
    first, noise = batches.generated("a", 3, 6), "eps" if coupled else "x_T"
    assert all(torch.equal(getattr(turn[0], name), getattr(first, name)) for name in ("z", "t", noise))
    assert [draw.z is None for draw in turn] == [False, True, True, True]
    for one, other in itertools.combinations(turn, 2):
        assert torch.equal(one.condition["label"], other.condition["label"])
        assert torch.equal(one.x_T, other.x_T) == coupled
        assert not torch.equal(one.t, other.t) and not torch.equal(getattr(one, noise), getattr(other, noise))
    again = next(itertools.islice(batches.turn("a", 3, 6), 2, None))
    assert torch.equal(again.t, turn[2].t) and torch.equal(getattr(again, noise), getattr(turn[2], noise))
    parts = [list(itertools.islice(Batches(data, path, 1, True, Part(r, 2)).turn("a", 3, 6), 3)) for r in range(2)]
    assert torch.equal(torch.cat([part[2].x_T for part in parts]), turn[2].x_T)


def test_processes_share_one_batch(data) -> None:
    path = small_teacher().path
    whole = Batches(data, path, seed=1, flip=True)
    parts = [Batches(data, path, seed=1, flip=True, part=Part(r, 3)) for r in range(3)]
    for role in ("real", "generated"):
        full = getattr(whole, role)("x", 4, 10)
        split = [getattr(p, role)("x", 4, 10) for p in parts]
        assert [len(s) for s in split] == [3, 3, 4]
        for name in ("t", "x_T", "x_0", "z"):
            if getattr(full, name) is not None:
                assert torch.equal(torch.cat([getattr(s, name) for s in split]), getattr(full, name))
        assert torch.equal(torch.cat([s.condition["label"] for s in split]), full.condition["label"])


@pytest.mark.parametrize("coupled", [False, True])
def test_a_process_reads_its_own_images_only(data, coupled: bool, monkeypatch) -> None:
    path = BrownianBridge(noise=0.5) if coupled else small_teacher().path
    data = dataclasses.replace(data, sources=255 - data.values) if coupled else data
    read: list[int] = []
    monkeypatch.setattr("realuid.training.batches.to_float", lambda x: read.append(len(x)) or to_float(x))
    for rank in range(3):
        batches = Batches(data, path, seed=1, flip=True, part=Part(rank, 3))
        batches.real("x", 4, 10), batches.generated("x", 4, 10)
    images = (1 + 2 * coupled) * [3], (1 + 2 * coupled) * [4]
    assert read == [*images[0], *images[0], *images[1]]


@pytest.mark.parametrize("window", [1.0, 0.25])
def test_processes_share_one_time_of_every_interval(data, window: float) -> None:
    """Real and generated: the whole batch has one time in each n-th of the window, whoever computes it."""
    path = small_teacher().path
    parts = [Batches(data, path, seed=1, part=Part(r, 2), options=DrawOptions(window=window)) for r in range(2)]
    for role in ("real", "generated"):
        for step in range(5):
            t = torch.cat([getattr(p, role)("x", step, 13).t for p in parts])
            place = (t - path.t_min) / (window * (path.t_max - path.t_min)) * 13
            assert sorted(place.floor().int().tolist()) == list(range(13))


def test_the_classes_of_a_batch_are_in_the_proportions_of_the_data(digits) -> None:
    """Every batch within two of the proportion, in the mean exactly, and in random order."""
    values, labels = digits.values[:90], torch.arange(90) % 9 % 4  # 30, 20, 20, 20 of four classes, not in order
    batches = Batches(Dataset(values, labels, "few", tuple("0123")), small_teacher().path, seed=1)
    share = torch.bincount(labels) / 90
    drawn = torch.stack([batches.generated("g", step, 12).condition["label"] for step in range(600)])
    counts = torch.stack([torch.bincount(row, minlength=4) for row in drawn])
    assert ((counts - 12 * share).abs() < 2).all() and (counts.double().var(0) < 0.5).all()  # independent: 2 to 2.7
    assert torch.allclose(counts.double().mean(0), 12 * share.double(), atol=0.1)
    for place in (0, 11):  # no class has a place of its own: chi-squared, three degrees of freedom
        seen = torch.bincount(drawn[:, place], minlength=4)
        assert ((seen - 600 * share) ** 2 / (600 * share)).sum() < 16.3


def test_micro_batches_cover_a_draw_once(data) -> None:
    draw = Batches(data, small_teacher().path, seed=1).real("x", 0, 11)
    assert torch.equal(torch.cat([p.t for p in micro_batches(draw, 3)]), draw.t)
    assert micro_batches(None, 2) == [None, None]
