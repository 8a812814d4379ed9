"""How long until a student is as good as the published recipe ever gets? And what shortens that?

    python -m benchmarks.time_to_fd bar   --teacher runs/demo/teacher [--recipe demo] [--data SOURCE] [--seeds 3]
    python -m benchmarks.time_to_fd study ...   # ours with one setting changed at a time

Both recipes run in this code base, from one teacher. `published` is the paper's: t_init = 1, equal batches, K = 5, one
constant learning rate for both players, random fake start; its rate, its batch and its (alpha, beta) are the best of
--rates, --batches and --pairs with seed 0, for as many images. `ours` is the recipe's own students. --first-seed judges
both by other seeds than they were chosen with. Curves are kept in --out as they come; a second call reads them, unless
they were made with other settings.

Seconds are those of the updates alone: processor time on a CPU, of one thread, and the wall clock on a GPU. For the
bar's ratios both sides' updates are timed in turns at the end, and medians taken; the study's are those of the curves.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import statistics
from pathlib import Path
from typing import Any, NamedTuple

import torch

from benchmarks.speed.roofline import clock
from realuid.data import Dataset
from realuid.files import write_json
from realuid.loaders import load_teacher
from realuid.metrics import Evaluator
from realuid.models import MatchingModel
from realuid.recipes import load_recipe
from realuid.recipes.evaluate import make_evaluator
from realuid.recipes.run import recipe_data
from realuid.training import DistillConfig, DistillTask
from realuid.training.accelerate import make_accelerator
from realuid.training.costs import update_cost

#: Noise of the samples behind every quick FD.
SAMPLE_SEED = 1234
#: The paper's recipe, as far as it does not depend on the data.
PUBLISHED: dict[str, Any] = {
    "t_init": 1.0,
    "real_share": 1.0,
    "fake_updates": 5,
    "adam_betas": (0.0, 0.999),
    "fake_start": "random",
    "lr_decay": "constant",
    "alpha_sid": 0.5,
}
#: Ours with one setting changed, batch and learning rates as multiples of ours; updates follow, so that the arithmetic
#: stays the same.
STUDY: dict[str, dict[str, Any]] = {
    "ours": {},
    "t_init 1": {"t_init": 1.0},
    "t_init as by default": {"t_init": None},
    "K 1": {"fake_updates": 1},
    "K 2": {"fake_updates": 2},
    "K 3": {"fake_updates": 3},
    "K 5": {"fake_updates": 5},
    "half the batch": {"batch": 0.5},
    "double the batch": {"batch": 2},
    "both rates half": {"generator_lr": 0.5, "fake_lr": 0.5},
    "both rates double": {"generator_lr": 2, "fake_lr": 2},
    "fake rate half": {"fake_lr": 0.5},
    "fake rate double": {"fake_lr": 2},
    # One of the two is the recipe's own.
    "constant rates": {"lr_decay": "constant"},
    "rates to zero": {"lr_decay": "cosine"},
    "fake from teacher": {"fake_start": "teacher"},
    "alpha_sid 0.75": {"alpha_sid": 0.75},
    "alpha_sid 1": {"alpha_sid": 1.0},
    "generator's times log-normal": {"generator_times": "log-normal"},
    "generator's times SiD's grid": {"generator_times": "grid"},
    "weight min_snr": {"weight": "min_snr"},
    "normalised": {"normalise": True},
    "average 0.98": {"ema": (0.98,)},
    "average 0.995": {"ema": (0.995,)},
    "real data": {"alpha": 0.96, "beta": 0.98},
}
#: Whose values in `STUDY` multiply the recipe's.
FACTORS = ("batch", "generator_lr", "fake_lr")


class Point(NamedTuple):
    """One quick FD on the way."""

    update: int
    seconds: float
    fd: float


def curve(
    teacher: MatchingModel, data: Dataset, evaluator: Evaluator, config: DistillConfig, every: int
) -> list[Point]:
    """Quick FD of the averaged generator against the seconds its updates took."""
    accelerator = make_accelerator(config)
    task = DistillTask(teacher, data, config, accelerator)
    points, seconds = [], 0.0
    for update in range(1, config.updates + 1):
        start = clock(accelerator.device)
        task.update(update - 1)
        task.ema.update()
        seconds += clock(accelerator.device) - start
        if update % every == 0 or update == config.updates:
            with task.ema.applied(config.ema[0]) as model:
                samples = task.sample(model, config.quick_samples, SAMPLE_SEED)
                points.append(Point(update, seconds, evaluator.score((found[-1] for found in samples), full=False).fd))
    return points


def medians_in_turns(tasks: dict[str, DistillTask], rounds: int = 8, updates: int = 3) -> dict[str, float]:
    """Median seconds of an update of each task; all take turns, and the first round is a warm-up."""
    taken: dict[str, list[float]] = {name: [] for name in tasks}
    for number in range(rounds + 1):
        for name, task in tasks.items():
            for update in range(number * updates, (number + 1) * updates):
                start = clock(task.teacher.device)
                task.update(update)
                task.ema.update()
                taken[name].append(clock(task.teacher.device) - start)
    return {name: statistics.median(seconds[updates:]) for name, seconds in taken.items()}


def first_at(points: list[Point], fd: float) -> Point | None:
    """The first point that is at least as good."""
    return next((point for point in points if point.fd <= fd), None)


def best(points: list[Point]) -> Point:
    """The point with the lowest FD; of equals, the first."""
    return min(points, key=lambda point: point.fd)


class Bench:
    """Curves of settings and seeds, each computed once and kept in a folder."""

    def __init__(self, arguments: argparse.Namespace):
        recipe = load_recipe(arguments.recipe)
        if arguments.data:
            recipe = dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, source=arguments.data))
        if arguments.own_updates:
            own = dataclasses.replace(recipe.distill, updates=arguments.own_updates)
            recipe = dataclasses.replace(recipe, distill=own)
        self.recipe, self.folder, self.every = recipe, arguments.out, arguments.every
        self.data = recipe_data(recipe)
        device = make_accelerator(recipe.distill).device
        self.evaluator = make_evaluator(self.data, recipe.evaluate, device)
        self.teacher = load_teacher(arguments.teacher)
        self.settings = {"teacher": str(arguments.teacher), "data": recipe.data.source, "every": arguments.every}

    def config(self, changes: dict[str, Any], seed: int = 0) -> DistillConfig:
        """The recipe's settings with some of them changed."""
        return dataclasses.replace(self.recipe.distill, seed=seed, **changes)

    def costs(self, sides: dict[str, dict[str, Any]]) -> dict[str, float]:
        """Seconds of an update of the recipe with some settings changed, by name."""
        configs = {name: self.config(changes) for name, changes in sides.items()}
        return medians_in_turns(
            {name: DistillTask(self.teacher, self.data, c, make_accelerator(c)) for name, c in configs.items()}
        )

    def curve(self, name: str, seed: int, changes: dict[str, Any]) -> list[Point]:
        """The curve of the recipe with some settings changed."""
        file = self.folder / f"{name}, seed {seed}.json"
        config = self.config(changes, seed)
        settings = json.loads(json.dumps(dataclasses.asdict(config) | self.settings))
        if file.is_file():
            kept = json.loads(file.read_text())
            if kept["settings"] != settings:
                raise SystemExit(f"'{file}' was made with other settings. Pass another --out.")
            return [Point(*point) for point in kept["points"]]
        points = curve(self.teacher, self.data, self.evaluator, config, self.every)
        write_json(file, {"name": name, "seed": seed, "settings": settings, "points": points})
        low = best(points)
        print(f"{name}, seed {seed}: FD {low.fd:.3f} after {low.seconds:.0f} s, {low.update} updates", flush=True)
        return points


def bar(bench: Bench, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Seconds of the published recipe to its best FD, and of ours to the same FD, seed by seed."""

    def settings(rate: float, batch: int, pair: str) -> dict[str, Any]:
        updates = arguments.updates * max(arguments.batches) // batch
        alpha, beta = map(float, pair.split(","))
        own = {"generator_lr": rate, "fake_lr": rate, "batch": batch, "updates": updates, "alpha": alpha, "beta": beta}
        return PUBLISHED | own

    def published(choice: tuple[float, int, str], seed: int) -> Point:
        rate, batch, pair = choice
        changes = settings(*choice)
        return best(bench.curve(f"published ({pair}), {rate:g}, {changes['updates']} of {batch}", seed, changes))

    choices = itertools.product(arguments.rates, arguments.batches, arguments.pairs)
    choice = min(choices, key=lambda choice: published(choice, 0).fd)
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
    known = {f.name for f in dataclasses.fields(DistillConfig)}
    students = {n: {k: v for k, v in c.items() if k in known} for n, c in bench.recipe.students.items()}
    theirs = {seed: published(choice, seed) for seed in seeds}
    own = {
        name: {seed: bench.curve(f"ours {name}", seed, changes) for seed in seeds} for name, changes in students.items()
    }
    cost = bench.costs({"published": settings(*choice)} | students)
    rows = []
    for seed, low in theirs.items():
        there = low.update * cost["published"]
        for name, curves in own.items():
            reached = first_at(curves[seed], low.fd)
            here = reached and reached.update * cost[name]
            rows.append(
                {
                    "seed": seed,
                    "student": name,
                    "published": {"choice": choice, "fd": low.fd, "update": low.update, "seconds": there},
                    "ours": reached and {"fd": reached.fd, "update": reached.update, "seconds": here},
                    "ratio": here and here / there,
                    "ours best": best(curves[seed])._asdict(),
                    "seconds an update": {"published": cost["published"], "ours": cost[name]},
                }
            )
    return rows


def changed(own: DistillConfig, setting: dict[str, Any]) -> dict[str, Any]:
    """What a setting of `STUDY` makes of ours: its values, or factors, and updates that cost as much in all."""
    changes = {k: type(getattr(own, k))(v * getattr(own, k)) if k in FACTORS else v for k, v in setting.items()}
    config = dataclasses.replace(own, **changes)
    return changes | {"updates": round(own.updates * cost_of(own) / cost_of(config))}


def cost_of(config: DistillConfig) -> float:
    """Forward passes of an update."""
    return update_cost(config).passes * config.batch


def study(bench: Bench, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """FD of every setting, seed by seed, and mean seconds to --target."""
    curves: dict[str, list[list[Point]]] = {name: [] for name in arguments.settings or STUDY}
    for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
        for name, done in curves.items():
            changes = changed(bench.recipe.distill, STUDY[name])
            done.append(bench.curve(f"study {name}", seed, changes))
    rows = []
    for name, done in curves.items():
        seconds = [point.seconds for points in done if (point := first_at(points, arguments.target))]
        rows.append(
            {
                "setting": name,
                "best fd": [best(points).fd for points in done],
                "last fd": [points[-1].fd for points in done],
                "seconds": [points[-1].seconds for points in done],
                "seconds to target": statistics.mean(seconds) if len(seconds) == len(done) else None,
                "reached": f"{len(seconds)} of {len(done)}",
            }
        )
    return rows


def main(arguments: list[str] | None = None) -> list[dict[str, Any]]:
    """Print the rows and write them to DIR."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("bar", "study"))
    parser.add_argument("--teacher", required=True)
    parser.add_argument("--recipe", default="demo")
    parser.add_argument("--data", help="instead of the recipe's data source")
    parser.add_argument("--seeds", type=int, default=3, help="how many of them")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--updates", type=int, default=600, help="of the published recipe at the largest of --batches")
    parser.add_argument("--own-updates", type=int, help="of ours, instead of the recipe's")
    parser.add_argument(
        "--rates", type=float, nargs="+", default=[6e-4, 1.2e-3, 2.4e-3], help="of the published recipe"
    )
    parser.add_argument("--batches", type=int, nargs="+", default=[64, 128], help="of the published recipe")
    parser.add_argument("--pairs", nargs="+", default=["0.92,0.94", "0.96,0.98"], help="(alpha, beta) of the same")
    parser.add_argument("--every", type=int, default=20, help="updates between quick FDs")
    parser.add_argument("--settings", nargs="+", choices=STUDY, help="of the study")
    parser.add_argument("--target", type=float, default=0.3, help="FD of the study's clock")
    parser.add_argument("--out", type=Path, default=Path("runs/time-to-fd"))
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    rows = {"bar": bar, "study": study}[options.what](Bench(options), options)
    for row in rows:
        print(json.dumps(row))
    write_json(options.out / f"{options.what}.json", rows)
    return rows


if __name__ == "__main__":
    main()
