"""The paper's questions on one's own data, one command each; interrupted ones go on where they stopped.

    python benchmarks/experiments.py correction  [--recipe NAME or FILE.yaml] [--data SOURCE] [--seeds 3] [--out DIR]
    python benchmarks/experiments.py convergence ...
    python benchmarks/experiments.py classes     ...
    python benchmarks/experiments.py finetune    ...

correction: with a teacher stopped early, or made c times too fast, does real data beat the data-free student, the GAN
and the teacher? convergence: how many updates does RealUID need to reach the data-free student's plateau? classes: does
a separate classifier see the class that was asked for? finetune: does a second stage improve the student? Every answer
is a table of means and spreads over seeds, on the terminal and in DIR/NAME.json; experiments in one DIR share their
teacher and students.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import json
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from realuid.files import write_json
from realuid.loaders import load_generator, load_teacher
from realuid.metrics import Evaluator
from realuid.models import Generator, MatchingModel, UNet
from realuid.recipes import Recipe, load_recipe
from realuid.recipes.advise import probe
from realuid.recipes.evaluate import evaluate_model, make_evaluator
from realuid.recipes.run import recipe_data
from realuid.recipes.spec import NamedTeacher, student_spec, teacher_spec
from realuid.training import fine_tuning, load_start
from realuid.training.folder import has_checkpoint, is_finished

#: A student: what differs from the recipe's `distill`. Its name is that of its folder.
Settings = dict[str, float]
UID: Settings = {"alpha": 1.0, "beta": 1.0}
GAN: Settings = UID | {"lambda_g": 1.0}
REALUID: Settings = {"alpha": 0.96, "beta": 0.98}
SECOND_STAGES: tuple[Settings, ...] = ({"alpha": 0.92, "beta": 0.86}, {"alpha": 0.94, "beta": 1.0})
#: Ratios beta / alpha that are tried on every teacher, at this alpha.
ALPHA, RATIOS = 0.92, (0.9, 0.94, 1.02, 1.06)
#: The good teacher, one stopped after this share of its updates, and ones whose velocity is multiplied.
EARLY, FACTORS = 0.1, (0.9, 1.1)
KINDS = ("good", "early", *(f"x {factor}" for factor in FACTORS))


def name_of(settings: Settings) -> str:
    """What a student is called."""
    if settings == UID:
        return "UID"
    return "UID + GAN" if settings == GAN else f"({settings['alpha']:g}, {settings['beta']:g})"


class Bench:
    """A recipe with its teachers, and students of them, each made once."""

    def __init__(self, recipe: Recipe, folder: Path, seeds: int, kinds: Sequence[str] = KINDS):
        self.recipe, self.folder, self.seeds, self.kinds = recipe, folder, seeds, kinds
        self.data = recipe_data(recipe)
        self.evaluator: Evaluator = make_evaluator(self.data, recipe.evaluate)

    def teacher(self, kind: str = "good", updates: int | None = None) -> MatchingModel:
        """The recipe's teacher, or one stopped early: trained once, then read."""
        run = self.folder / f"teacher {kind}"
        if is_finished(run):
            return load_teacher(run)
        config = dataclasses.replace(self.recipe.teacher, updates=updates or self.recipe.teacher.updates)
        recipe = dataclasses.replace(self.recipe, teacher=config)
        return teacher_spec(recipe, run, self.data).run(resume=has_checkpoint(run))

    def student(self, kind: str, teacher: MatchingModel, settings: Settings, seed: int, start: str = "") -> dict:
        """One student: FD of its best model by quick FD and of the last update's average, quick FDs on the way, and
        scores by class of the best one, where conditional.

        Args:
            kind: what the teacher is called.
            teacher: what is distilled.
            settings: what differs from the recipe.
            seed: of the run.
            start: name of the student, of the same teacher and seed, that a second stage goes on from.
        """

        def folder(name: str) -> Path:
            return self.folder / f"{kind}, {name}, seed {seed}"

        run = folder(f"{start} then {name_of(settings)}" if start else name_of(settings))
        if (run / "result.json").is_file():
            return json.loads((run / "result.json").read_text())
        if is_finished(run):
            student = load_generator(run)
        else:
            student = self._distil(teacher, run, settings, seed, folder(start) if start else None)
        measured = evaluate_model(student, self.evaluator, self.recipe.evaluate)
        scores = measured.classes
        result = {
            "fd": statistics.mean(measured.fd),
            "last": self.fd(load_start(run, self.recipe.distill.ema[0])),
            "history": json.loads((run / "history.json").read_text()),
            "classes": scores.to_dict() if scores else None,
        }
        write_json(run / "result.json", result)
        return result

    def _distil(
        self, teacher: MatchingModel, run: Path, settings: Settings, seed: int, start: Path | None
    ) -> Generator:
        config = dataclasses.replace(self.recipe.distill, seed=seed)
        config = fine_tuning(config, **settings) if start else dataclasses.replace(config, **settings)  # type: ignore
        config = dataclasses.replace(config, save_every=config.save_every or max(1, config.updates // 4))
        recipe = dataclasses.replace(self.recipe, distill=config, students={})
        begin = load_start(start) if start else None
        spec = student_spec(recipe, NamedTeacher(teacher), run, data=self.data, start=begin, evaluator=self.evaluator)
        return spec.run(resume=has_checkpoint(run))

    def students(self, kind: str, teacher: MatchingModel, settings: Settings, start: str = "") -> list[dict]:
        """The same student for every seed."""
        return [self.student(kind, teacher, settings, seed, start) for seed in range(self.seeds)]

    def fd(self, model: MatchingModel | Generator) -> float:
        """FD of a teacher, at the recipe's steps, or of a student."""
        return statistics.mean(evaluate_model(model, self.evaluator, self.recipe.evaluate, full=False).fd)


def row(name: str, values: list[float], **more: Any) -> dict[str, Any]:
    """Mean, spread and values as a row of a table."""
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return {"name": name, "mean": statistics.mean(values), "std": spread, "values": values, **more}


def budgets(results: list[dict]) -> dict[str, float]:
    """Quick FD of the average, mean over seeds, after a quarter, a half and all of the updates."""
    last = results[0]["history"][-1]["update"]

    def at(part: float) -> float:
        return statistics.mean(
            next(h["fd"] for h in result["history"] if h["update"] >= part * last) for result in results
        )

    return {f"after {share}": round(at(part), 4) for share, part in (("1/4", 0.25), ("1/2", 0.5), ("1/1", 1.0))}


def faster(teacher: MatchingModel, factor: float) -> MatchingModel:
    """A teacher whose velocity is multiplied by a factor."""
    assert isinstance(teacher.network, UNet) and teacher.prediction == "velocity"
    wrong = copy.deepcopy(teacher)
    with torch.no_grad():
        for parameter in wrong.network.unet.conv_out.parameters():
            parameter.mul_(factor)
    return wrong


def correction(bench: Bench) -> list[dict[str, Any]]:
    """FD of students of good and wrong teachers: data-free, with a GAN, with real data at every ratio.

    Of the last update's average: the best model by FD is one that passes near the data on its way to a wrong teacher.
    """
    good, rows = bench.teacher(), []
    teachers = {"good": good, "early": bench.teacher("early", max(1, int(bench.recipe.teacher.updates * EARLY)))}
    teachers |= {f"x {factor}": faster(good, factor) for factor in FACTORS}
    teachers = {kind: teacher for kind, teacher in teachers.items() if kind in bench.kinds}
    with_data = [{"alpha": ALPHA, "beta": round(ALPHA * ratio, 4)} for ratio in RATIOS]
    for kind, teacher in teachers.items():
        speed = probe(teacher, bench.data)
        rows.append(
            row(f"teacher {kind}", [bench.fd(teacher)], speed=[round(v, 3) for v in (speed.mean, *speed.parts)])
        )
        for settings in (UID, GAN, *with_data):
            results = bench.students(kind, teacher, settings)
            best = round(statistics.mean(r["fd"] for r in results), 4)
            rows.append(
                row(f"{kind}: {name_of(settings)}", [r["last"] for r in results], best=best, **budgets(results))
            )
    return rows


def convergence(bench: Bench) -> list[dict[str, Any]]:
    """Updates until the quick FD first comes within 5% of the data-free student's lowest one, seed by seed."""
    teacher, rows = bench.teacher(), []
    runs = {name_of(settings): bench.students("good", teacher, settings) for settings in (UID, REALUID)}
    plateaus = [1.05 * min(h["fd"] for h in run["history"]) for run in runs["UID"]]
    for name, results in runs.items():
        reached = [
            next((h["update"] for h in run["history"] if h["fd"] <= plateau), None)
            for run, plateau in zip(results, plateaus, strict=True)
        ]
        known = [float(u) for u in reached if u is not None]
        rows.append(
            row(f"{name}: updates to UID's plateau", known or [math.inf], reached=f"{len(known)} of {len(reached)}")
        )
        rows.append(row(f"{name}: FD", [run["fd"] for run in results], **budgets(results)))
    return rows


def classes(bench: Bench) -> list[dict[str, Any]]:
    """Agreement of a separate classifier with the class asked for, and FD by class, of conditional students."""
    teacher, rows = bench.teacher(), []
    for settings in (UID, REALUID):
        scores = [run["classes"] for run in bench.students("good", teacher, settings)]
        name = name_of(settings)
        rows.append(row(f"{name}: agreement", [s["agreement"] for s in scores]))
        for c, fds in enumerate(zip(*(s["fd_by_class"] for s in scores), strict=True)):
            rows.append(row(f"{name}: FD of class {c}", list(fds)))
    return rows


def finetune(bench: Bench) -> list[dict[str, Any]]:
    """FD before and after a second stage, seed by seed."""
    teacher, start = bench.teacher(), name_of(REALUID)
    first = bench.students("good", teacher, REALUID)
    rows = [row(f"{start} from scratch", [r["fd"] for r in first])]
    for settings in SECOND_STAGES:
        fds = [r["fd"] for r in bench.students("good", teacher, settings, start)]
        better = sum(after < before["fd"] for after, before in zip(fds, first, strict=True))
        rows.append(row(f"then {name_of(settings)}", fds, better=f"{better} of {bench.seeds} seeds"))
    return rows


EXPERIMENTS = {"correction": correction, "convergence": convergence, "classes": classes, "finetune": finetune}


def main(arguments: list[str] | None = None) -> list[dict[str, Any]]:
    """Carry out one experiment and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment", choices=EXPERIMENTS)
    parser.add_argument("--recipe", default="digits")
    parser.add_argument("--data", help="instead of the recipe's data source")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--teachers", nargs="+", default=KINDS, choices=KINDS, help="of `correction`")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    recipe = load_recipe(options.recipe)
    if options.data:
        recipe = dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, source=options.data))
    distill = recipe.distill
    every = min(distill.evaluate_every or distill.updates, max(1, distill.updates // 4))
    recipe = dataclasses.replace(recipe, distill=dataclasses.replace(distill, evaluate_every=every))
    folder = options.out or Path("runs") / f"experiments-{recipe.name}"
    rows = EXPERIMENTS[options.experiment](Bench(recipe, folder, options.seeds, options.teachers))
    for each in rows:
        more = ", ".join(f"{k} {v}" for k, v in each.items() if k not in ("name", "mean", "std", "values"))
        print(f"{each['name']:<40} {each['mean']:>10.4g} ± {each['std']:<10.3g} {more}")
    write_json(folder / f"{options.experiment}.json", rows)
    return rows


if __name__ == "__main__":
    main()
