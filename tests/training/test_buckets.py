"""Data in several sizes: every update is of one, which (seed, update) determine, as often as the data has it."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pipelines
import pytest
import torch
from captioned import metadata, png, zipped
from conftest import small_teacher
from diffusers import UNet2DConditionModel
from PIL import Image
from torch import Tensor
from training.test_loop import same, stop_at

from realuid.cli.main import main
from realuid.data import Dataset, load_dataset
from realuid.models import ConditionSpec
from realuid.models.networks.prompted import PromptNetwork
from realuid.processes import WHOLE, Part
from realuid.training.batches import Batches, DrawOptions
from realuid.training.buckets import AnyBatches, SizedBatches, Sizes, batches_of
from realuid.training.checkpoints import Checkpoints

COUNTS, SHAPES = (12, 5, 3), ((8, 8), (12, 4), (4, 12))
LABELS = ConditionSpec("label", "label", classes=2)


def numbered(count: int, shape: tuple[int, int], first: int) -> Dataset:
    """Images whose levels are their numbers; a third of them have label 1."""
    values = torch.arange(first, first + count, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, *shape)
    return Dataset(values.contiguous(), (torch.arange(count) % 3 == 0).long(), classes=("a", "b"))


@pytest.fixture
def sized() -> Dataset:
    parts = [numbered(n, s, 40 * i) for i, (n, s) in enumerate(zip(COUNTS, SHAPES, strict=True))]
    return parts[0]._with(others=tuple(parts[1:]))


def draws(data: Dataset, part: Part = WHOLE, seed: int = 1, reals: int = 1) -> AnyBatches:
    options = DrawOptions(reals=reals)
    where = {"conditions": [LABELS], "device": torch.device("cpu"), "options": options}
    return batches_of(data, small_teacher().path, seed, False, part, **where)


def levels(x: Tensor) -> list[int]:
    return ((x[:, 0, 0, 0] + 1) * 127.5).round().int().tolist()


def test_sizes_are_as_frequent_as_their_samples_and_known_at_any_update() -> None:
    sizes, seen = Sizes(COUNTS, seed=3), Counter()
    for update in range(60):
        size, before = sizes.at(update)
        assert before == seen[size]
        seen[size] += 1
        if update % 20 == 19:
            assert [seen[i] for i in range(3)] == [n * (update + 1) // 20 for n in COUNTS]
    assert [Sizes(COUNTS, seed=3).at(u) for u in (47, 3)] == [sizes.at(u) for u in (47, 3)]
    assert [sizes.at(u)[0] for u in range(20)] != [sizes.at(u)[0] for u in range(20, 40)]


def test_all_draws_of_an_update_are_of_one_size(sized: Dataset) -> None:
    batches, seen = draws(sized, reals=2), Counter()
    for update in range(20):
        turn = list(itertools.islice(batches.turn("fake", update, 4), 2))
        shapes = {tuple(turn[0].z.shape[1:]), *(tuple(draw.x_T.shape[1:]) for draw in turn)}
        shapes |= {tuple(batches.real("fake real", 2 * update + k, 4).x_0.shape[1:]) for k in range(2)}
        shapes |= {tuple(batches.generated("generator", update, 3).z.shape[1:])}
        assert len(shapes) == 1
        seen[shapes.pop()] += 1
    assert [seen[(1, *shape)] for shape in SHAPES] == list(COUNTS)


def test_every_sample_is_as_frequent_as_any_other(sized: Dataset) -> None:
    """In the 20 updates of a round with batches of 6, each of 20 samples 6 times; and the share of labels is theirs."""
    batches, seen = draws(sized), Counter()
    labels, of_generated = [], []
    for update in range(20):
        draw = batches.real("real", update, 6)
        seen.update(levels(draw.x_0))
        labels += draw.condition["label"].tolist()
        shown = batches.generated("generator", update, 6, with_real=True)
        right = [int(level % 40 % 3 == 0) for level in levels(shown.x_0)]
        assert shown.condition["label"].tolist() == right
        of_generated += right
    assert set(seen.values()) == {6} and len(seen) == 20
    assert sum(labels) == 6 * sum(len(range(0, n, 3)) for n in COUNTS)
    assert abs(sum(of_generated) - sum(labels)) <= 20  # up to one in a batch


def test_draws_are_functions_of_seed_and_update_shared_by_processes(sized: Dataset) -> None:
    whole, parts = draws(sized), [draws(sized, Part(rank, 2)) for rank in range(2)]
    assert isinstance(whole, SizedBatches)
    for update in (31, 7, 8):
        for name in ("real", "generated"):
            full = getattr(whole, name)("a", update, 5)
            split = [getattr(part, name)("a", update, 5) for part in parts]
            assert torch.equal(torch.cat([one.t for one in split]), full.t)
            assert torch.equal(torch.cat([one.x_T for one in split]), full.x_T)
    assert torch.equal(draws(sized).real("a", 8, 5).x_0, full_at(whole, 8))
    other = draws(sized, seed=2)
    assert any(full_at(other, u).shape != full_at(whole, u).shape for u in range(20))


def full_at(batches: AnyBatches, update: int) -> Tensor:
    x_0 = batches.real("a", update, 5).x_0
    assert x_0 is not None
    return x_0


def test_data_of_one_size_is_drawn_as_ever(sized: Dataset) -> None:
    one = sized.sizes[0]
    ours, theirs = draws(one), Batches(one, small_teacher().path, 1, conditions=[LABELS])
    assert torch.equal(full_at(ours, 3), theirs.real("a", 3, 5).x_0)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sdxl", "sd3", "flux_dev"])
def test_a_pipeline_is_distilled_at_the_sizes_of_the_data_and_resumed(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network is called with every size, SDXL's also told so; a run that was stopped ends with the same bits."""
    teacher, files = pipelines.save(name, tmp_path / "teacher"), {"0.png": png(3)}
    for i, (width, height) in enumerate([(24, 16), (16, 24), (20, 20), (17, 16), (18, 18)], 1):
        pixels = np.random.default_rng(i).integers(256, size=(height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
        files[f"{i}.png"] = (tmp_path / f"{i}.png").read_bytes()
    captions = [f"a red {i}" for i in range(len(files))]
    photos = zipped(tmp_path, {**files, "metadata.jsonl": metadata(*files, captions=captions)})
    data = tmp_path / "prepared"
    sized = ["--resolution", "16", "--buckets", "--bucket-step", "4"]
    assert main(["prepare", str(photos), str(data), "--teacher", str(teacher), *sized]) == 0
    read = load_dataset(data)
    assert [part.shape for part in read.sizes] == [(3, 16, 16), (3, 12, 20), (3, 20, 12)]
    assert [part.columns["latent"].shape[1:] for part in read.sizes] == [(4, 8, 8), (4, 6, 10), (4, 10, 6)]

    how = ["--batch", "2", "--fake-updates", "2", "--calls", "2", "--device", "cpu", "--trust-teacher"]
    how += ["--lora-rank", "2", "--fake-start", "teacher", "--evaluate-every", "0", "--sample-every", "0"]
    how += ["--teacher", str(teacher), "--data.source", str(data), "--save-every", "2", "--updates", "6"]
    seen = called_with(monkeypatch)
    assert main(["distill", "demo", *how, "--out", str(tmp_path / "whole")]) == 0
    assert {x[1:] for x, _ in seen} == {(4, 8, 8), (4, 6, 10), (4, 10, 6)}
    if name == "sdxl":
        assert all(ids.tolist() == [[2 * x[2], 2 * x[3], 0, 0, 2 * x[2], 2 * x[3]]] * x[0] for x, ids in seen)
    with monkeypatch.context() as stopped:
        stop_at(stopped, 3)
        assert main(["distill", "demo", *how, "--out", str(tmp_path / "stopped")]) != 0
    assert main(["distill", "--out", str(tmp_path / "stopped"), "--resume"]) == 0
    ends = [Checkpoints(tmp_path / run / "checkpoints").latest() for run in ("whole", "stopped")]
    (whole, _, _), (again, _, _) = (Checkpoints.read(folder) for _, folder in ends)
    assert [update for update, _ in ends] == [6, 6]
    assert whole.keys() == again.keys() and all(same(whole[part], again[part]) for part in whole)


def called_with(monkeypatch: pytest.MonkeyPatch) -> list[tuple[tuple[int, ...], Tensor]]:
    """Shapes of the samples that prompt networks are called with, and of SDXL's the sizes that it is told."""
    seen: list[tuple[tuple[int, ...], Tensor]] = []
    forward, unet = PromptNetwork.forward, UNet2DConditionModel.forward

    def listening(self: PromptNetwork, x: Tensor, *rest: Tensor) -> Tensor:
        if not x.is_meta:
            seen.append((tuple(x.shape), torch.empty(0)))
        return forward(self, x, *rest)

    def told(self: UNet2DConditionModel, x: Tensor, *rest: Tensor, **named: Any) -> Any:
        if not x.is_meta:
            seen[-1] = (tuple(x.shape), named["added_cond_kwargs"].get("time_ids"))
        return unet(self, x, *rest, **named)

    monkeypatch.setattr(PromptNetwork, "forward", listening)
    monkeypatch.setattr(UNet2DConditionModel, "forward", told)
    return seen
