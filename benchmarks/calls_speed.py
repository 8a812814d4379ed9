"""How long sampling and updates of several calls take: the part of `python -m benchmarks.calls` called speed."""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import statistics
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.speed.ours import random_data, teacher_of
from benchmarks.speed.roofline import clock
from realuid.files import write_json
from realuid.models import Student
from realuid.sampling import generate
from realuid.training import DistillConfig, DistillTask
from realuid.training.accelerate import make_accelerator
from realuid.training.costs import update_cost


def speed(options: argparse.Namespace) -> dict[str, Any]:
    """Seconds and ratios by number of calls; written to --out, too."""
    teacher = teacher_of("", options.channels, options.side).eval()
    data, count = random_data(options.side), options.batch
    z, t = torch.randn(count, *teacher.shape), torch.full((count,), 0.5)
    config = DistillConfig(batch=count, updates=10**6, fake_updates=2, device="auto")
    configs = {n: dataclasses.replace(config, calls=n) for n in options.numbers}
    tasks = {n: DistillTask(teacher, data, config, make_accelerator(config)) for n, config in configs.items()}
    device = tasks[options.numbers[0]].teacher.device
    teacher, z, t = teacher.to(device), z.to(device), t.to(device)
    runs: dict[tuple[str, int], Callable[[], object]] = {}
    numbers = itertools.count()
    for n in options.numbers:
        made = Student(teacher, calls=n)
        runs["sampling", n] = lambda made=made: list(generate(made, count, batch=count))
        runs["network", n] = lambda n=n: [teacher(z, t) for _ in range(n)]
    runs |= {("update", n): lambda n=n: tasks[n].update(next(numbers)) for n in options.numbers}
    times: dict[tuple[str, int], list[float]] = {key: [] for key in runs}
    for _ in range(options.rounds + 1):
        for key, run in runs.items():
            start = clock(device)
            with torch.set_grad_enabled(key[0] == "update"):
                run()
            times[key].append(clock(device) - start)
    seconds = {key: statistics.median(taken[1:]) for key, taken in times.items()}

    def ratio(above: tuple[str, int], below: tuple[str, int]) -> float:
        """Median over rounds, in which both ran one soon after the other."""
        return statistics.median(a / b for a, b in zip(times[above][1:], times[below][1:], strict=True))

    rows = []
    for n in options.numbers:
        predicted = update_cost(configs[n]).passes / update_cost(configs[1]).passes
        rows.append(
            {
                "calls": n,
                "sampling": seconds["sampling", n],
                "of bare passes": ratio(("network", n), ("sampling", n)),
                "update": seconds["update", n],
                "times that of one call": ratio(("update", n), ("update", 1)),
                "by the cost model": predicted,
            }
        )
        print("  ".join(f"{name} {value:.3g}" for name, value in rows[-1].items()), flush=True)
    result = {"batch": count, "channels": options.channels, "side": options.side, "device": str(device), "rows": rows}
    write_json(options.out / "speed.json", result)
    return result
