"""The paper's questions on one's own data, one command each; interrupted ones go on where they stopped.

    python benchmarks/experiments.py correction  [--recipe digits] [--data SOURCE] [--seeds 3] [--updates N] [--out DIR]
    python benchmarks/experiments.py convergence ...
    python benchmarks/experiments.py classes     ...
    python benchmarks/experiments.py finetune    ...

correction: with a teacher stopped early, or made c times too fast, does real data beat the data-free student, the GAN
and the teacher? convergence: how many updates does RealUID need to reach the data-free student's plateau? classes: does
a separate classifier see the class that was asked for? finetune: does a second stage improve the student? Every answer
is a table of means and spreads over seeds, on the terminal and in DIR/NAME.json.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import json
import statistics
from pathlib import Path
from typing import Any

import torch

from realuid.files import write_json
from realuid.metrics import Evaluator
from realuid.models import MatchingModel, UNet, save_pretrained
from realuid.recipes import Recipe, load_recipe
from realuid.recipes.run import (
    has_checkpoint,
    is_finished,
    make_evaluator,
    measure,
    measure_classes,
    recipe_data,
    run_student,
    run_teacher,
)
from realuid.teachers import load_generator, load_teacher
from realuid.training import fine_tuning, load_start

RATIOS = (0.94, 0.98, 1.02, 1.06)
DATA_FREE, WITH_DATA = {"alpha": 1.0, "beta": 1.0}, {"alpha": 0.96, "beta": 0.98}
SECOND_STAGES = {"0.92, 0.86": {"alpha": 0.92, "beta": 0.86}, "0.94, 1.00": {"alpha": 0.94, "beta": 1.0}}


class Bench:
    """A recipe with its teacher, and students made of it once."""

    def __init__(self, recipe: Recipe, folder: Path, seeds: int):
        self.recipe, self.folder, self.seeds = recipe, folder, seeds
        self.data = recipe_data(recipe)
        self.evaluator: Evaluator = make_evaluator(self.data, recipe.evaluate)

    def teacher(self, name: str = "teacher", updates: int | None = None) -> MatchingModel:
        """The recipe's teacher, or one stopped early: trained once, then read."""
        run = self.folder / name
        if is_finished(run):
            return load_teacher(run)
        config = self.recipe.teacher
        shorter = dataclasses.replace(config, updates=updates or config.updates)
        return run_teacher(dataclasses.replace(self.recipe, teacher=shorter), run, resume=has_checkpoint(run))

    def student(self, teacher: MatchingModel, name: str, seed: int, changes: dict, start: Path | None = None) -> dict:
        """One student: its measured FD, quick FDs on the way and, where conditional, scores by class."""
        run = self.folder / f"{name}, seed {seed}"
        if (run / "result.json").is_file():
            return json.loads((run / "result.json").read_text())
        config = dataclasses.replace(self.recipe.distill, seed=seed)
        config = fine_tuning(config, **changes) if start else dataclasses.replace(config, **changes)
        config = dataclasses.replace(config, save_every=config.save_every or max(1, config.updates // 4))
        student = run_student(
            self.recipe,
            teacher,
            run,
            config=config,
            start=load_start(start) if start else None,
            resume=has_checkpoint(run) and not is_finished(run),
            data=self.data,
            evaluator=self.evaluator,
        )
        if is_finished(run):
            student = load_generator(run)
        scores = measure_classes(student, self.evaluator, self.recipe.evaluate)
        result = {
            "fd": statistics.mean(measure(student, self.evaluator, self.recipe.evaluate, full=False).fd),
            "history": json.loads((run / "history.json").read_text()),
            "classes": scores.to_dict() if scores else None,
        }
        write_json(run / "result.json", result)
        return result

    def students(self, teacher: MatchingModel, name: str, changes: dict) -> list[dict]:
        """The same student for every seed."""
        return [self.student(teacher, name, seed, changes) for seed in range(self.seeds)]

    def fd(self, teacher: MatchingModel) -> float:
        """FD of a teacher at the recipe's steps."""
        return statistics.mean(measure(teacher, self.evaluator, self.recipe.evaluate, full=False).fd)


def row(name: str, values: list[float], **more: Any) -> dict[str, Any]:
    """Mean, spread and values as a row of a table."""
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return {"name": name, "mean": statistics.mean(values), "std": spread, "values": values, **more}


def faster(teacher: MatchingModel, factor: float) -> MatchingModel:
    """A teacher whose velocity is multiplied by a factor."""
    assert isinstance(teacher.network, UNet) and teacher.prediction == "velocity"
    wrong = copy.deepcopy(teacher)
    with torch.no_grad():
        for parameter in wrong.network.unet.conv_out.parameters():
            parameter.mul_(factor)
    return wrong


def correction(bench: Bench) -> list[dict[str, Any]]:
    """FD of students of good and wrong teachers: data-free, with real data at every ratio, and with a GAN."""
    good = bench.teacher()
    early = bench.teacher("teacher stopped early", max(1, bench.recipe.teacher.updates // 10))
    rows = []
    teachers = {"good": good, "early": early, "x 0.95": faster(good, 0.95), "x 1.05": faster(good, 1.05)}
    for kind, teacher in teachers.items():
        save_pretrained(teacher, bench.folder / f"teacher {kind}")
        rows.append(row(f"teacher {kind}", [bench.fd(teacher)]))
        settings = {"data-free": DATA_FREE, "GAN": DATA_FREE | {"lambda_g": 1.0}}
        settings |= {f"0.92, ratio {r}": {"alpha": 0.92, "beta": round(0.92 * r, 4)} for r in RATIOS}
        for name, changes in settings.items():
            results = bench.students(teacher, f"{kind}, {name}", changes)
            rows.append(row(f"{kind}: {name}", [r["fd"] for r in results]))
    return rows


def convergence(bench: Bench) -> list[dict[str, Any]]:
    """Updates until the quick FD first comes within 5% of the data-free student's lowest one, seed by seed."""
    teacher, rows = bench.teacher(), []
    runs = {name: bench.students(teacher, name, c) for name, c in (("UID", DATA_FREE), ("RealUID", WITH_DATA))}
    plateaus = [1.05 * min(h["fd"] for h in run["history"]) for run in runs["UID"]]
    for name, results in runs.items():
        reached = [
            next((h["update"] for h in run["history"] if h["fd"] <= plateau), None)
            for run, plateau in zip(results, plateaus, strict=True)
        ]
        known = [float(u) for u in reached if u is not None]
        rows.append(row(f"{name}: updates to UID's plateau", known or [float("inf")], reached=len(known)))
        rows.append(row(f"{name}: FD", [run["fd"] for run in results]))
    return rows


def classes(bench: Bench) -> list[dict[str, Any]]:
    """Agreement of a separate classifier with the class asked for, and FD by class, of conditional students."""
    teacher, rows = bench.teacher(), []
    for name, changes in (("UID", DATA_FREE), ("RealUID", WITH_DATA)):
        scores = [run["classes"] for run in bench.students(teacher, name, changes)]
        rows.append(row(f"{name}: agreement", [s["agreement"] for s in scores]))
        for c, fds in enumerate(zip(*(s["fd_by_class"] for s in scores), strict=True)):
            rows.append(row(f"{name}: FD of class {c}", list(fds)))
    return rows


def finetune(bench: Bench) -> list[dict[str, Any]]:
    """FD before and after a second stage, seed by seed."""
    teacher = bench.teacher()
    first = bench.students(teacher, "scratch", WITH_DATA)
    rows = [row("scratch", [r["fd"] for r in first])]
    for name, changes in SECOND_STAGES.items():
        results = [
            bench.student(teacher, f"tuned {name}", seed, changes, start=bench.folder / f"scratch, seed {seed}")
            for seed in range(bench.seeds)
        ]
        fds = [r["fd"] for r in results]
        better = sum(after < before["fd"] for after, before in zip(fds, first, strict=True))
        rows.append(row(f"tuned with {name}", fds, better=f"{better} of {bench.seeds} seeds"))
    return rows


EXPERIMENTS = {"correction": correction, "convergence": convergence, "classes": classes, "finetune": finetune}


def main(arguments: list[str] | None = None) -> list[dict[str, Any]]:
    """Carry out one experiment and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment", choices=EXPERIMENTS)
    parser.add_argument("--recipe", default="digits")
    parser.add_argument("--data", help="instead of the recipe's data source")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--updates", type=int, help="of every student, instead of the recipe's")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    recipe = load_recipe(options.recipe)
    if options.data:
        recipe = dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, source=options.data))
    updates = options.updates or recipe.distill.updates
    every = min(recipe.distill.evaluate_every or updates, max(1, updates // 4))
    recipe = dataclasses.replace(
        recipe, distill=dataclasses.replace(recipe.distill, updates=updates, evaluate_every=every)
    )
    folder = options.out or Path("runs") / f"{options.experiment}-{recipe.name}"
    rows = EXPERIMENTS[options.experiment](Bench(recipe, folder, options.seeds))
    for each in rows:
        more = ", ".join(str(v) for k, v in each.items() if k not in ("name", "mean", "std", "values"))
        print(f"{each['name']:<40} {each['mean']:>10.4g} ± {each['std']:<10.3g} {more}")
    write_json(folder / f"{options.experiment}.json", rows)
    return rows


if __name__ == "__main__":
    main()
