"""Peaks that are counted without memory against those that torch's profiler measures in the CPU's allocator."""

from __future__ import annotations

import warnings

import pytest
import torch
from text_networks import TEXT_NETWORKS, Flux, TextUNet
from torch.profiler import ProfilerActivity, profile

from realuid.data import Dataset
from realuid.models import MatchingModel, example
from realuid.paths import LinearPath
from realuid.training import DistillConfig
from realuid.training.accelerate import make_accelerator
from realuid.training.distill import DistillTask
from realuid.training.footprint import Footprint, footprint

TOKENS = 5
COMMON = {"batch": 24, "fake_updates": 1, "fake_start": "teacher", "alpha": 0.92, "beta": 0.94, "precision": "fp32"}
COMMON |= {"device": "cpu", "channels_last": False, "updates": 4, "micro_batch": 24}
LORA = {"lora_rank": 4}


def events(recorded) -> list[int]:
    """Allocations and, negative, what was freed, in order."""
    found = [e for e in recorded.profiler.kineto_results.events() if e.name() == "[memory]"]
    return [e.nbytes() for e in sorted(found, key=lambda e: e.start_ns())]


def measured(network, settings: dict) -> tuple[int, int]:
    """Bytes that are there between updates, and the peak of the second update, beyond the teacher that was given."""
    config, specs = DistillConfig(**settings), network.conditions
    columns = dict(example(specs, 32, torch.Generator().manual_seed(0)))
    columns["text"] = torch.randn(32, TOKENS, network.width)
    data = Dataset(torch.randn(32, *network.shape), columns=columns)
    teacher = MatchingModel(network, LinearPath())
    how = {"activities": [ProfilerActivity.CPU], "profile_memory": True}
    with profile(**how) as first:
        task = DistillTask(teacher, data, config, make_accelerator(config))
        task.update(0)
        task.ema.update()
    with profile(**how) as second:
        task.update(1)
    resting = total = peak = sum(events(first))
    for size in events(second):
        total += size
        peak = max(peak, total)
    return resting, peak


def counted(network, settings: dict) -> Footprint:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return footprint(MatchingModel(network, LinearPath()), DistillConfig(**settings), TOKENS)


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [{}, LORA, {**LORA, "activation_checkpointing": True}],
    ids=["copies", "adapters", "adapters, recomputed"],
)
@pytest.mark.parametrize("make", TEXT_NETWORKS)
def test_counted_peaks_are_measured_ones(make, changes: dict) -> None:
    torch.manual_seed(0)
    settings = {**COMMON, **changes}
    network = make()
    found = counted(network, settings)
    resting, peak = measured(network, settings)
    assert found.peak == pytest.approx(peak, rel=0.1)
    gradients = found.parts["student: Adam"] / 2  # which stay until the next update
    assert found.resting + gradients == pytest.approx(resting, rel=0.1)


@pytest.mark.slow
def test_parts_are_what_roles_hold() -> None:
    found = counted(Flux(), {**COMMON, **LORA, "batch": 2, "micro_batch": 2, "ema": (0.9, 0.99)})
    whole = 4 * sum(p.numel() for p in Flux().parameters())
    assert found.parts["teacher: weights"] == whole
    adapter = found.parts["student: weights"]
    assert 0 < adapter < whole and found.parts["fake model: weights"] == adapter
    assert found.parts["student: Adam"] == found.parts["student: averages"] == 2 * adapter
    copies = counted(TextUNet(), {**COMMON, "batch": 2, "micro_batch": 2})
    assert len(set(copies.parts.values())) == 2  # weights and averages; two moments of each


@pytest.mark.slow
def test_nothing_is_left_behind() -> None:
    network, settings = TextUNet(), {**COMMON, **LORA, "batch": 2, "micro_batch": 2}
    before = {n: p.clone() for n, p in network.named_parameters()}
    counted(network, settings)
    assert all(torch.equal(p, before[n]) for n, p in network.named_parameters())
    assert isinstance(torch.nn.Linear(2, 3).to(torch.float64).weight, torch.nn.Parameter)
    x = torch.randn(2, 4, 8, 8)
    assert MatchingModel(network, LinearPath())(x, torch.ones(2), example(network.conditions, 2)).isfinite().all()
