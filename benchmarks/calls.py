"""Students of one, two and four calls: every number of docs/experiments/calls.md.

    python -m benchmarks.calls digits [--families flow vp edm interpolant] [--methods 1 2 4 ...] [--seeds 3]
    python -m benchmarks.calls points [--families flow vp edm interpolant bridge] [--methods 1 2 4 ...] [--seeds 3]
    python -m benchmarks.calls tables
    python -m benchmarks.calls speed [--channels 64 64 64] [--side 32] [--batch 16] [--rounds 5] [--numbers 1 2 4 8]

digits: FD of students of the bundled digits at every number of calls up to their own, beside the teacher's at 50 steps.
points: the same in two dimensions with teachers in closed form; the sliced Wasserstein distance to real samples, in
units of that of two sets of real samples. Students cost as many forward passes in training: those of more calls get
fewer updates. Every run is one folder of --out with a result.json, made once, and an interrupted one goes on from its
last checkpoint; `tables` prints them.

speed: sampling with 1, 2, 4 and 8 calls against as many bare forward passes, and updates against what the cost model
says of them; processor seconds on a CPU, medians of rounds in which all take turns, ratios within a round.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import statistics
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch

from benchmarks.calls_speed import speed
from benchmarks.experiments import Bench
from benchmarks.families_2d import FAMILIES as POINTS
from benchmarks.families_2d import Mixture, exact_teacher, sliced_wasserstein, student_start, task_from_exact
from realuid.data import Dataset
from realuid.files import write_json
from realuid.models import Condition, MatchingModel, Student
from realuid.recipes import load_recipe
from realuid.recipes.evaluate import evaluate_model
from realuid.recipes.spec import NamedTeacher, student_spec
from realuid.training import DistillConfig, load_start
from realuid.training.costs import update_cost
from realuid.training.folder import has_checkpoint

FAMILIES = {"flow": "demo", "vp": "digits-vp", "edm": "digits-edm", "interpolant": "digits-interpolant"}
#: What is compared: what differs from the recipe's settings of distillation, all data-free unless they say otherwise.
METHODS: dict[str, dict[str, Any]] = {
    "1": {"calls": 1},
    "2": {"calls": 2},
    "2 untold": {"calls": 2, "fake_sees_call": False},
    "4": {"calls": 4},
    "4 untold": {"calls": 4, "fake_sees_call": False},
    "4 from data": {"calls": 4, "call_inputs": "data"},
    "4 phases": {"calls": 4, "phases": True},
    "4 phases, untold": {"calls": 4, "phases": True, "fake_sees_call": False},
    "4 deterministic": {"calls": 4, "renoise": "deterministic"},
    "1 mixture": {"calls": 1, "objective": "mixture", "real_share": 0.33},
    "4 mixture": {"calls": 4, "objective": "mixture", "real_share": 0.33},
    "1 taught fake": {"calls": 1, "fake_start": "teacher"},
    "4 random fake": {"calls": 4, "fake_start": "random"},
    "4 fast fake": {"calls": 4, "fake_start": "random", "generator_lr": 3e-4, "fake_lr": 4e-3},
    "4 from 1": {"calls": 4},
    "4 from 1, batch 256": {"calls": 4, "batch": 256},
    "4 from 1, batch 256, twice the rates": {"calls": 4, "batch": 256},
}
#: Settings in two dimensions: those of benchmarks/families_2d.py.
GAME_2D: dict[str, Any] = {
    "batch": 128,
    "fake_updates": 3,
    "alpha_sid": 1.0,
    "generator_lr": 1e-3,
    "fake_lr": 2e-3,
    "warmup": 20,
    "lr_decay": "cosine",
    "ema": (0.99,),
    "device": "cpu",
}
#: Student of the same seed that a method starts from; it gets half of the updates, and the start had all of its own.
STARTS = dict.fromkeys(("4 from 1", "4 from 1, batch 256", "4 from 1, batch 256, twice the rates"), "1")
#: What the learning rates are multiplied by: with larger batches, the square root of their factor.
RATES = {"4 from 1, batch 256, twice the rates": 2.0}


def student(bench: Bench, method: str, seed: int, updates: int) -> dict[str, Any]:
    """One student, or what an earlier call found: FD of the last average at 1, 2, ... calls, and quick FDs."""
    run = bench.folder / f"{method}, seed {seed}"
    if (run / "result.json").is_file():
        return json.loads((run / "result.json").read_text())
    one = dataclasses.replace(bench.recipe.distill, calls=1, updates=updates, lr_decay="cosine", seed=seed)
    config, rates = dataclasses.replace(one, **METHODS[method]), RATES.get(method, 1.0)
    config = dataclasses.replace(config, generator_lr=rates * config.generator_lr, fake_lr=rates * config.fake_lr)
    length = round(updates * update_cost(one).passes / update_cost(config).passes)
    config = dataclasses.replace(config, updates=length // 2 if method in STARTS else length, sample_every=0)
    config = dataclasses.replace(config, save_every=max(1, config.updates // 5))
    config = dataclasses.replace(config, evaluate_every=config.save_every)
    recipe = dataclasses.replace(bench.recipe, distill=config, students={})
    begin = load_start(bench.folder / f"{STARTS[method]}, seed {seed}") if method in STARTS else None
    teacher = NamedTeacher(bench.teacher())
    spec = student_spec(recipe, teacher, run, data=bench.data, start=begin, evaluator=bench.evaluator)
    spec.run(resume=has_checkpoint(run))
    made = load_start(run, config.ema[0])
    measured = evaluate_model(made, bench.evaluator, recipe.evaluate, full=False)
    result = {
        "method": method,
        "seed": seed,
        "updates": config.updates,
        "times": made.times,
        "fd": {n: statistics.mean(one.fd) for n, one in enumerate(measured.by_calls or [measured], 1)},
    }
    write_json(run / "result.json", result)
    print(f"{bench.folder.name}, {method}, seed {seed}: {result['fd']}", flush=True)
    return result


@functools.cache
def world_of(family: str, seed: int) -> tuple[MatchingModel, Mixture, Dataset, MatchingModel]:
    """A perfect teacher, its world, data of it, and the model that students start from."""
    teacher, world = exact_teacher(POINTS[family])
    x_0, x_T = world.sample(50_000, seed=seed)
    data = Dataset(x_0, name="mixture", sources=x_T if teacher.path.coupled else None)
    return teacher, world, data, student_start(POINTS[family], data, 500, seed)


def point(family: str, method: str, seed: int, options: argparse.Namespace) -> None:
    """One student in two dimensions, unless an earlier call made it."""
    run = options.out / f"points {family}" / f"{method}, seed {seed}"
    if (run / "result.json").is_file():
        return
    teacher, world, data, start = world_of(family, seed)
    one = DistillConfig(**GAME_2D, calls=1, updates=options.updates, seed=seed)
    config = dataclasses.replace(one, **METHODS[method])
    config = dataclasses.replace(
        config, updates=round(one.updates * update_cost(one).passes / update_cost(config).passes)
    )
    task = task_from_exact(teacher, start, data, config)
    for update in range(config.updates):
        task.update(update)
        task.ema.update()
    made = task.ema.averaged(config.ema[0])
    assert isinstance(made, Student)
    result = {"method": method, "seed": seed, "updates": config.updates, "times": made.times, "fd": ratios(made, world)}
    result["fd of real inputs"] = {} if world.link is not None else from_real(made, world)
    write_json(run / "result.json", result)
    write_json(run.parent / "teacher.json", {"fd": 1.0})
    print(f"{family}, {method}, seed {seed}: {result['fd']}", flush=True)


@torch.no_grad()
def ratios(made: Student, world: Mixture, count: int = 2000, rounds: int = 10) -> dict[int, float]:
    """Sliced Wasserstein distance to real samples over that of real to real, by number of calls."""
    of_students, of_real = [0.0] * made.calls, 0.0
    for i in range(rounds):
        random = torch.Generator().manual_seed(3000 + i)
        z, *e = (torch.randn(count, 2, generator=random) for _ in range(made.calls))
        (real, source), (other, x_T) = world.sample(count, seed=1000 + i), world.sample(count, seed=2000 + i)
        found = made.predictions(z, Condition(source=x_T), torch.stack(e, dim=1) if e else None)
        if world.link is not None:
            real, other = torch.cat([real, source], dim=1), torch.cat([other, x_T], dim=1)
            found = [torch.cat([x, x_T], dim=1) for x in found]
        of_real += sliced_wasserstein(other, real)
        of_students = [sum_ + sliced_wasserstein(x, real) for sum_, x in zip(of_students, found, strict=True)]
    return {n: sum_ / of_real for n, sum_ in enumerate(of_students, 1)}


@torch.no_grad()
def from_real(made: Student, world: Mixture, count: int = 2000, rounds: int = 5) -> dict[int, float]:
    """The same of single calls whose inputs are real data with the noise of the call, not a rollout; by call."""
    of_students, of_real = [0.0] * made.calls, 0.0
    for i in range(rounds):
        random = torch.Generator().manual_seed(4000 + i)
        (real, _), (other, _) = world.sample(count, seed=1000 + i), world.sample(count, seed=2000 + i)
        of_real += sliced_wasserstein(other, real)
        for call, time in enumerate(made.times):
            k = made.model.path.coefficients(torch.full((count,), time)).expand(other)
            x_t = k.a * other + made.model.path.noise_std(k) * torch.randn(count, 2, generator=random)
            of_students[call] += sliced_wasserstein(made.predict(call, x_t), real)
    return {n: sum_ / of_real for n, sum_ in enumerate(of_students, 1)}


def points(options: argparse.Namespace) -> None:
    """Every run asked for, seed by seed."""
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        for family in options.families:
            for method in options.methods:
                point(family, method, seed, options)


def digits(options: argparse.Namespace) -> None:
    """Every run asked for, seed by seed, so that an early end leaves complete comparisons."""
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        for family in options.families:
            recipe = load_recipe(FAMILIES[family])
            teacher = dataclasses.replace(recipe.teacher, save_every=250)
            recipe = dataclasses.replace(
                recipe, teacher=teacher, evaluate=dataclasses.replace(recipe.evaluate, seeds=1)
            )
            bench = Bench(recipe, options.out / family, 1)
            of_teacher = bench.folder / "teacher.json"
            if not of_teacher.is_file():
                write_json(of_teacher, {"fd": bench.fd(bench.teacher())})
            for method in options.methods:
                student(bench, method, seed, options.updates)


def tables(folder: Path) -> None:
    """FD in units of the teacher's at 50 steps, mean and standard deviation over seeds, by family and method."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for file in sorted(folder.glob("*/*/result.json")):
        result = json.loads(file.read_text())
        groups[file.parts[-3], result["method"]].append(result)
    print("| family (FD of the teacher) | student | updates | seeds | 1 call | 2 calls | 3 calls | 4 calls |")
    print("|---|---|---|---|---|---|---|---|")
    for (family, method), results in groups.items():
        own = json.loads((folder / family / "teacher.json").read_text())["fd"]
        cells = [f"{family} ({own:.3g})", method, str(results[0]["updates"]), str(len(results))]
        for n in ("1", "2", "3", "4"):
            values = [result["fd"][n] / own for result in results if n in result["fd"]]
            spread = f" ± {statistics.stdev(values):.2g}" if len(values) > 1 else ""
            cells.append(f"{statistics.mean(values):.3g}{spread}" if values else "")
        print("| " + " | ".join(cells) + " |")


def main(arguments: list[str] | None = None) -> None:
    """Carry out one experiment, or print what there is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment", choices=("digits", "points", "tables", "speed"))
    parser.add_argument("--families", nargs="+", default=["flow"], choices=POINTS)
    parser.add_argument("--methods", nargs="+", default=["1", "2", "4"], choices=METHODS)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--updates", type=int, default=600, help="of one call; others get as many as cost the same")
    parser.add_argument("--channels", type=int, nargs="+", default=[64, 64, 64], help="of the network that is timed")
    parser.add_argument("--side", type=int, default=32, help="of its images")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--numbers", type=int, nargs="+", default=[1, 2, 4, 8], help="of calls that are timed; 1 first")
    parser.add_argument("--out", type=Path, default=Path("runs/calls"))
    options = parser.parse_args(arguments)
    if options.experiment == "tables":
        tables(options.out)
    elif options.experiment == "points":
        points(options)
    elif options.experiment == "speed":
        speed(options)
    else:
        digits(options)


if __name__ == "__main__":
    main()
