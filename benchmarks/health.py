"""Does the monitor of health name what is wrong with a run, and leave sound ones alone? docs/experiments/health.md.

    python -m benchmarks.health run    --out runs/health --set test          # 20 runs of digits, five seconds each
    python -m benchmarks.health tables --out runs/health --set test
    python -m benchmarks.health cost                                         # of the monitor, in the demo

Ten runs are sound, of different settings; ten are spoilt in known ways. Every evaluation also measures the model with
other noise and more samples, so that the checkpoint that a run picks by its quick FDs is compared with the best that
there was. The set `calibration` has other seeds: what it shows went into the thresholds, what `test` shows did not.
Finished runs are kept, so that an interrupted call continues.

The network is a perceptron on the 64 pixels, an update of which takes a sixth of the time of the demo's U-Net.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from realuid.data import Dataset
from realuid.errors import NonFiniteError
from realuid.files import write_json
from realuid.loaders import load_teacher
from realuid.metrics import Evaluator
from realuid.models import Condition, MatchingModel
from realuid.models.networks.architectures import NETWORKS
from realuid.models.networks.base import MLP
from realuid.processes import WHOLE
from realuid.reading import read_jsonl
from realuid.recipes import EvaluateConfig, Recipe, load_recipe
from realuid.recipes.evaluate import evaluate_model, make_evaluator
from realuid.recipes.run import new_teacher, recipe_data
from realuid.seeds import mix, seeded
from realuid.training import DistillConfig, train_teacher
from realuid.training.accelerate import make_accelerator
from realuid.training.distill import DistillTask
from realuid.training.evaluation import evaluate_averages
from realuid.training.folder import METRICS, is_finished
from realuid.training.health import Facts, diagnose
from realuid.training.health.vitals import Looks
from realuid.training.loop import Run as TrainingRun

#: Settings of every run; cases change some.
BASE: dict[str, Any] = {
    "updates": 160,
    "evaluate_every": 16,
    "generator_lr": 1e-3,
    "fake_lr": 2e-3,
    "warmup": 10,
    "sample_every": 0,
    "save_every": 0,
    "log_every": 4,
    "device": "cpu",
}
REAL = {"alpha": 0.96, "beta": 0.98}
FAST = {"generator_lr": 1e-2, "fake_lr": 2e-2}
SLOW_FAKE = {"fake_updates": 1, "fake_lr": 2e-4}
#: Seeds of the sets: those by which thresholds were chosen, that test them, of a slow test, and after a change.
SETS = {"calibration": 0, "test": 10, "miniature": 20, "again": 30}
#: Samples that measure every candidate, with noise of their own.
MEASURED = EvaluateConfig(samples=5000, seeds=1)
#: Written where a run ended with an infinite loss.
STOPPED = "stopped.txt"
#: A pick is right if its FD is at most this many times that of the best candidate.
CLOSE = 1.05


class Perceptron(MLP):
    """`MLP` on the pixels of a digit."""

    def __init__(self, width: int = 128, depth: int = 2, num_classes: int = 10):
        super().__init__(64, width, depth, num_classes)
        self.settings = {"width": width, "depth": depth, "num_classes": num_classes}
        self.shape = (1, 8, 8)

    def forward(self, x: torch.Tensor, time: torch.Tensor, condition: Condition) -> torch.Tensor:
        return super().forward(x.flatten(1), time, condition).unflatten(1, self.shape)


NETWORKS["perceptron"] = Perceptron  # so that its runs can be read


@dataclass(frozen=True)
class Case:
    """A run: what differs from `BASE`, and which cause a monitor should name; None: nothing is wrong.

    Attributes:
        teacher: of `TEACHERS`.
        digit: data of this class only; None: all.
    """

    changes: dict[str, Any] = field(default_factory=dict)
    cause: str | None = None
    teacher: str = "right"
    digit: int | None = None
    seed: int = 0


CASES = {
    "data-free 0": Case(),
    "data-free 1": Case(seed=1),
    "real data 0": Case(REAL),
    "real data 1": Case(REAL, seed=1),
    "five fake updates": Case({**REAL, "fake_updates": 5}),
    "SiD's 1.0": Case({"alpha_sid": 1.0}),
    "cosine": Case({**REAL, "lr_decay": "cosine"}),
    "two calls": Case({"calls": 2}),
    "mixture": Case({"objective": "mixture"}),
    "half the rates": Case({"generator_lr": 5e-4, "fake_lr": 1e-3}),
    "rates times 10": Case(FAST, "learning rates"),
    "rates times 10, real data": Case({**FAST, **REAL}, "learning rates"),
    "slow fake": Case(SLOW_FAKE, "fake model"),
    "slow fake, real data": Case({**SLOW_FAKE, **REAL}, "fake model"),
    "teacher of other data": Case({}, "teacher", teacher="other"),
    "teacher stopped early, real data": Case(REAL, "teacher", teacher="early"),
    "alpha_sid 1.2": Case({**REAL, "alpha_sid": 1.2}, "alpha_sid"),
    "alpha_sid 1.2, stronger": Case({"alpha": 0.9, "beta": 0.92, "alpha_sid": 1.2}, "alpha_sid"),
    "one class": Case({}, "data", digit=3),
    "one class, real data": Case(REAL, "data", digit=7),
}


def _other(data: Dataset) -> Dataset:
    """Upside down and inverted: images of another kind."""
    return dataclasses.replace(data, values=255 - data.values[:].flip(-2))


#: Teachers: their data, and updates of the recipe's training.
TEACHERS: dict[str, tuple[Callable[[Dataset], Dataset], int]] = {
    "right": (lambda data: data, 1500),
    "other": (_other, 750),
    "early": (lambda data: data, 30),
}


class Measured(DistillTask):
    """A distillation that measures its candidates at every evaluation.

    Args:
        arguments: of `DistillTask`.
        evaluator: of the data.
        file: of the FDs, one a line.
    """

    def __init__(self, *arguments: Any, evaluator: Evaluator, file: Path):
        super().__init__(*arguments)
        self.evaluator, self.file = evaluator, file

    def vitals(self, number: int) -> dict[str, float]:
        with self.ema.applied(self.ema.decays[0]) as model:
            fd = evaluate_model(model, self.evaluator, MEASURED, full=False).fd[0]  # type: ignore[arg-type]
        with self.file.open("a") as file:
            file.write(json.dumps({"evaluation": number, "fd": fd}) + "\n")
        return super().vitals(number)


def teacher_of(recipe: Recipe, name: str, folder: Path, data: Dataset) -> MatchingModel:
    """One of `TEACHERS`, trained if it is not there."""
    run, (change, updates) = folder / f"teacher, {name}", TEACHERS[name]
    if not is_finished(run):
        shutil.rmtree(run, ignore_errors=True)
        config = dataclasses.replace(recipe.teacher, updates=updates, save_every=0, sample_every=0, device="cpu")
        with seeded(mix(config.seed, "perceptron")):
            model = MatchingModel(Perceptron(), recipe.path.build())
        train_teacher(model, change(data), config, run)
    return load_teacher(run)


def run_case(case: Case, name: str, seed: int, folder: Path, recipe: Recipe, data: Dataset) -> None:
    """Distil one case into its folder, unless it is there."""
    run = folder / f"{name}, seed {seed}"
    if is_finished(run) or (run / STOPPED).exists():
        return
    shutil.rmtree(run, ignore_errors=True)
    file = folder / "candidates" / f"{run.name}.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    teacher = teacher_of(recipe, case.teacher, folder, data)
    evaluator = make_evaluator(data, recipe.evaluate)
    if case.digit is not None:  # features of all classes: a classifier of one takes longer than the run
        data = data.subset((data.column("label")[:] == case.digit).nonzero().flatten())
        evaluator = Evaluator(data, evaluator.extractor)
    config: DistillConfig = dataclasses.replace(recipe.distill, **{**BASE, **case.changes, "seed": seed})
    accelerator = make_accelerator(config)
    task = Measured(teacher, data, config, accelerator, evaluator=evaluator, file=file)
    try:
        TrainingRun(task, config, run, accelerator, evaluator).start()
    except NonFiniteError as error:
        (run / STOPPED).write_text(f"{error}\n")


def result_of(run: Path, case: Case, name: str, seed: int) -> dict[str, Any]:
    """What the monitor says of a finished run, and how good its checkpoint is."""
    config: DistillConfig = dataclasses.replace(load_recipe("demo").distill, **{**BASE, **case.changes})
    facts = Facts.of(config, 10, torch.arange(10 if case.digit is None else 1))
    logged = read_jsonl(run / METRICS)
    findings = diagnose(logged, facts)
    # an alarm counts whenever it is raised, even if it is over at the end
    ends = [number for number, line in enumerate(logged, 1) if line.get("fd") is not None]
    raised = {finding.cause for end in ends for finding in diagnose(logged[:end], facts)}
    lines = (run.parent / "candidates" / f"{run.name}.jsonl").read_text().splitlines()
    measured = [json.loads(line)["fd"] for line in lines]
    updates = [line["update"] for line in logged if line.get("fd") is not None]
    best = json.loads((run / "best" / "config.json").read_text())["trained"]["best"]
    picked = measured[updates.index(best["update"])]
    return {
        "case": name,
        "seed": seed,
        "cause": case.cause,
        "named": [finding.cause for finding in findings],
        "raised": sorted(raised),
        "text": [finding.text for finding in findings],
        "stopped": (run / STOPPED).exists(),
        "picked": picked,
        "best": min(measured),
        "last": measured[-1],
    }


def tables(results: list[dict[str, Any]]) -> None:
    """Print what was found, and the three counts of the bar."""
    print("| case | seed | cause | named at the end | raised | FD picked | best | last |")
    print("|---" * 8 + "|")
    for r in results:
        cells = (r["case"], r["seed"], r["cause"] or "", ", ".join(r["named"]), ", ".join(r["raised"]))
        print("| " + " | ".join(map(str, cells)) + "".join(f" | {r[k]:.3g}" for k in ("picked", "best", "last")) + " |")
    spoilt, sound = ([r for r in results if bool(r["cause"]) == is_spoilt] for is_spoilt in (True, False))
    first = sum(r["named"][:1] == [r["cause"]] for r in spoilt)
    close = sum(r["picked"] <= CLOSE * r["best"] for r in results)
    false = sum(bool(r["raised"]) for r in sound)
    print(f"\nright cause named first: {first} of {len(spoilt)}; sound runs with an alarm at any time: {false} of")
    print(f"{len(sound)}; picked within {CLOSE - 1:.0%} of the best: {close} of {len(results)}")


def cost(recipe: Recipe, data: Dataset) -> None:
    """Print what a look at health costs beside the updates between two of them, in the demo with its U-Net."""
    config = dataclasses.replace(recipe.distill, device="cpu")
    task = DistillTask(new_teacher(recipe, data), data, config, make_accelerator(config))
    evaluator = make_evaluator(data, recipe.evaluate)
    batches = [found[-1:] for found in task.sample(task.generator, config.quick_samples, seed=0)]

    def look() -> None:
        looks = Looks(data, task.generator, config.quick_samples, WHOLE)
        list(looks.watch(iter(batches)))
        looks.summary()

    def seconds(work: Callable[[], object], times: int) -> float:
        work()
        start = time.process_time()
        for _ in range(times):
            work()
        return (time.process_time() - start) / times

    between = config.evaluate_every * seconds(lambda: task.update(0), 20)
    fd = seconds(lambda: evaluate_averages(task, evaluator, config.quick_samples, WHOLE, lambda *_: None), 4)
    seen, networks = seconds(look, 4), seconds(lambda: task.vitals(0), 8)
    print(f"seconds: {config.evaluate_every} updates {between:.2f}, quick FD {fd:.2f}, of it health {seen:.3f},")
    print(f"comparing networks {networks:.3f}. Health: {(seen + networks) / between:.1%} of the updates")


def main(arguments: list[str] | None = None) -> None:
    """Carry out the runs, or print what there is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("do", choices=("run", "tables", "cost"))
    parser.add_argument("--set", default="test", choices=SETS)
    parser.add_argument("--only", nargs="+", default=list(CASES), choices=CASES)
    parser.add_argument("--out", type=Path, default=Path("runs/health"))
    options = parser.parse_args(arguments)
    recipe = load_recipe("demo")
    if options.do == "cost":
        cost(recipe, recipe_data(recipe))
        return
    results = []
    for name in options.only:
        case = CASES[name]
        seed = SETS[options.set] + case.seed
        if options.do == "run":
            run_case(case, name, seed, options.out, recipe, recipe_data(recipe))
        elif is_finished(run := options.out / f"{name}, seed {seed}") or (run / STOPPED).exists():
            results.append(result_of(run, case, name, seed))
    if options.do == "tables":
        write_json(options.out / f"{options.set}.json", results)
        tables(results)


if __name__ == "__main__":
    main()
