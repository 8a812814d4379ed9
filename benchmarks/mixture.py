"""What real data does for students of teachers that are right or wrong: every number of docs/experiments/mixture.md.

    python -m benchmarks.mixture points   [--families flow vp ...] [--teachers shifted ...] [--seeds 3]
    python -m benchmarks.mixture digits   [--network mlp|unet] [--teachers early ...] [--methods uid mixture ...]
    python -m benchmarks.mixture tables

points: two dimensions, teachers in closed form that are wrong (shifted, blurred, one mode missing, other weights), on
every family of paths; the sliced Wasserstein distance to the data, in units of that of two real samples. digits: the
bundled digits, teachers stopped early, trained on blurred images, or slower than the truth; students cost as many
forward passes, so cheaper objectives get more updates. Every run is one JSON file of --out, made once; `tables` prints
them.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from benchmarks.mixture_worlds import DIGITS, POINTS, World
from realuid.files import write_json
from realuid.training import DistillConfig, DistillTask
from realuid.training.costs import update_cost

#: Objectives that are compared: what differs from the settings of the world. times_fake_lr multiplies its fake_lr;
#: teacher_share is the share of all passes in which the teacher is trained further on the data before it is distilled.
METHODS: dict[str, dict[str, Any]] = {
    "uid": {},
    "mixture": {"objective": "mixture"},
    "mixture-half": {"objective": "mixture", "data_weight": 0.5},
    "mixture-rise": {"objective": "mixture", "data_weight_warmup": 0.5},
    "mixture-rise-quarter": {"objective": "mixture", "data_weight_warmup": 0.25},
    "mixture-third-real": {"objective": "mixture", "real_share": 0.33},
    "mixture-gamma-0.8": {"objective": "mixture", "gamma": 0.8},
    "mixture-gamma-0.2": {"objective": "mixture", "gamma": 0.2},
    "mixture-tenth-real": {"objective": "mixture", "real_share": 0.1},
    "mixture-one-fake-update": {"objective": "mixture", "fake_updates": 1},
    "mixture-fast-fake": {"objective": "mixture", "real_share": 0.33, "times_fake_lr": 4.0},
    "mixture-third-cosine": {"objective": "mixture", "real_share": 0.33, "lr_decay": "cosine"},
    "uid-cosine": {"lr_decay": "cosine"},
    "gan-3-cosine": {"lambda_g": 3.0, "lr_decay": "cosine"},
    "gan-1-cosine": {"lambda_g": 1.0, "lr_decay": "cosine"},
    "teacher-then-uid": {"teacher_share": 0.5},
    "teacher-longer-then-uid": {"teacher_share": 0.75},
    "teacher-then-mixture": {"teacher_share": 0.5, "objective": "mixture", "real_share": 0.33, "times_fake_lr": 4.0},
    "teacher-shorter-then-mixture": {
        "teacher_share": 0.25,
        "objective": "mixture",
        "real_share": 0.33,
        "times_fake_lr": 4.0,
    },
    "teacher-then-gan-3": {"teacher_share": 0.5, "lambda_g": 3.0},
    "realuid": {"alpha": 0.96, "beta": 0.98},
    "gan-0.3": {"lambda_g": 0.3},
    "gan-1": {"lambda_g": 1.0},
    "gan-3": {"lambda_g": 3.0},
    "data-forcing": {"objective": "data_forcing"},
    "data-forcing-sum": {"objective": "data_forcing", "weight": "one"},
}


def settings_of(world: World, method: str, seed: int) -> tuple[DistillConfig, int]:
    """The settings of a student and the passes of its teacher's further training: together as many as UID takes."""
    base = dataclasses.replace(world.settings, seed=seed)
    changes = dict(METHODS[method])
    share, fake_lr = changes.pop("teacher_share", 0.0), base.fake_lr * changes.pop("times_fake_lr", 1.0)
    config = dataclasses.replace(base, fake_lr=fake_lr, **changes)
    each = update_cost(base).passes
    updates = round((1 - share) * base.updates * each / update_cost(config).passes)
    return dataclasses.replace(config, updates=updates), round(share * base.updates * base.batch * each)


def run(world: World, teacher: str, method: str, seed: int, folder: Path) -> dict[str, Any]:
    """Distil one student, or read what an earlier call found.

    Returns:
        curve: distance of the averaged generator by share of the run; last, best: of that average, measured with more
        samples where the world has them; passes, seconds: what it took.
    """
    file = folder / f"{world.name}, {teacher}, {method}, seed {seed}.json"
    if file.is_file():
        return json.loads(file.read_text())
    began = time.process_time()
    config, spent = settings_of(world, method, seed)
    task: DistillTask = world.task(teacher, config, spent)
    decay, curve, best = config.ema[0], [], (float("inf"), None)
    marks = {round(config.updates * i / world.points) for i in range(1, world.points + 1)}
    for update in range(config.updates):
        task.update(update)
        task.ema.update()
        if update + 1 in marks:
            averaged = task.ema.averaged(decay)
            curve.append(world.quick(averaged, seed))  # type: ignore[arg-type]
            if curve[-1] < best[0]:
                best = (curve[-1], averaged)
            if len(curve) * 4 % world.points == 0:
                print(f"  {file.stem}: {update + 1} of {config.updates}: {curve[-1]:.3g}", flush=True)
    result = {
        "world": world.name,
        "teacher": teacher,
        "method": method,
        "seed": seed,
        "updates": config.updates,
        "passes": spent + update_cost(config).passes * config.batch * config.updates,
        "curve": curve,
        "last": world.measure(task.ema.averaged(decay), seed),  # type: ignore[arg-type]
        "best": world.measure(best[1], seed),  # type: ignore[arg-type]
        "of teacher": world.of_teacher(teacher),
        "seconds": time.process_time() - began,
    }
    write_json(file, result)
    print(f"{file.stem}: last {result['last']:.3g}, best {result['best']:.3g}", flush=True)
    return result


def tables(folder: Path) -> None:
    """Mean and standard deviation over seeds, by world, teacher and method."""
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = defaultdict(list)
    for file in sorted(folder.glob("*.json")):
        result = json.loads(file.read_text())
        groups[result["world"], result["teacher"], result["method"]].append(result)
    print("| world | teacher (its own distance) | method | updates | seeds | last | best | curve of seed 0 |")
    print("|---|---|---|---|---|---|---|---|")
    for (world, teacher, method), results in groups.items():
        last, best = (_spread([r[key] for r in results]) for key in ("last", "best"))
        curve, first = results[0]["curve"], results[0]
        shown = " ".join(f"{curve[round(len(curve) * i / 6) - 1]:.3g}" for i in range(1, 7))
        own = f"{first['of teacher']:.3g}"
        cells = (world, f"{teacher} ({own})", method, first["updates"], len(results), last, best, shown)
        print("| " + " | ".join(map(str, cells)) + " |")


def _spread(values: list[float]) -> str:
    deviation = f" ± {statistics.stdev(values):.2g}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3g}{deviation}"


def carry_out(worlds: Iterable[tuple[str, Callable[[], World]]], options: argparse.Namespace) -> None:
    """Every run asked for, seed by seed, so that an early end leaves complete comparisons."""
    made = {name: make() for name, make in worlds}
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        for world in made.values():
            for teacher in options.teachers or world.teachers:
                for method in options.methods:
                    run(world, teacher, method, seed, options.out)


def main(arguments: list[str] | None = None) -> None:
    """Carry out one experiment, or print what there is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment", choices=("points", "digits", "tables"))
    parser.add_argument("--families", nargs="+", default=list(POINTS), choices=POINTS)
    parser.add_argument("--network", default="mlp", choices=DIGITS)
    parser.add_argument("--teachers", nargs="+", help="by default all of the experiment's")
    parser.add_argument("--methods", nargs="+", default=["uid", "mixture"], choices=METHODS)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--updates", type=int, help="of UID; others get as many as cost the same")
    parser.add_argument("--out", type=Path, default=Path("runs/mixture"))
    options = parser.parse_args(arguments)
    if options.experiment == "tables":
        tables(options.out)
        return
    table = {name: POINTS[name] for name in options.families} if options.experiment == "points" else None
    chosen = table or {options.network: DIGITS[options.network]}
    folder = options.out / "teachers"
    carry_out(((name, lambda make=make: make(folder, options.updates)) for name, make in chosen.items()), options)


if __name__ == "__main__":
    main()
