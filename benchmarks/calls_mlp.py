"""What helps students of several calls, on digits by a perceptron: seven times cheaper than the demo's U-Net.

    python -m benchmarks.calls_mlp [--families flow ...] [--methods 1 4 "4 taught" ...] [--seeds 3] [--updates 400]
    python -m benchmarks.calls_mlp --tables

Class-conditional digits as 64 numbers, the perceptron of benchmarks/mixture_worlds.py, a teacher of 9,000 updates.
FD of 3,000 samples of the last average at every number of calls, four times on the way, beside the teacher's at 50
calls. Updates of one and of several calls are equally many. Every run is a file of --out, made once.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import json
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.mixture_worlds import Digits
from realuid.files import write_json
from realuid.models import Condition, MatchingModel, Student
from realuid.sampling import generate, spread_labels
from realuid.training import DistillConfig, DistillTask, TeacherTask
from realuid.training.accelerate import make_accelerator
from realuid.training.costs import update_cost

FAMILIES = {"flow": "demo", "vp": "digits-vp", "edm": "digits-edm", "interpolant": "digits-interpolant"}
EARLY = (0.714, 0.62, 0.51, 0.4)


@dataclass(frozen=True)
class Method:
    """A way to train a student.

    Attributes:
        settings: of the distillation.
        start: method of the student that it starts from, trained for as many updates; "" for the teacher's weights.
        start_fake: whether the fake model starts from that student's.
        scaled: whether the generator's gradient of call k is multiplied by tau_1 / tau_k
            (`benchmarks/calls_gaussian.py`).
    """

    settings: dict[str, Any]
    start: str = ""
    start_fake: bool = False
    scaled: bool = False


def four(fake_start: str = "random", **settings: Any) -> dict[str, Any]:
    """Settings of four calls, with a fake model from random weights, or from the teacher ("taught")."""
    return {"calls": 4, "fake_start": fake_start, **settings}


FAST: dict[str, Any] = {"fake_lr": 3e-3}
SLOW, LARGE = {"generator_lr": 2.5e-4}, {"batch": 512}
#: What is compared. The fake model's rate is 1e-3, or 3e-3 ("fast"), or 6e-3 ("faster"); the student's is 5e-4.
METHODS = {
    "1": Method({"calls": 1}),
    "1 fast": Method(four(**FAST) | {"calls": 1}),
    "1 taught": Method(four("teacher") | {"calls": 1}),
    "4": Method(four()),
    "4 scaled": Method(four(), scaled=True),
    "4 early times": Method(four(times=EARLY) | {"calls": None}),
    "4 six fake updates": Method(four(fake_updates=6)),
    "4 fast": Method(four(**FAST)),
    "4 fast, scaled": Method(four(**FAST), scaled=True),
    "4 fast, slow student, batch 512": Method(four(**FAST, **SLOW, **LARGE)),
    "4 fast, slow student": Method(four(**FAST, **SLOW)),
    "4 fast, from data": Method(four(**FAST, call_inputs="data")),
    "4 fast, untold": Method(four(**FAST, fake_sees_call=False)),
    "4 taught": Method(four("teacher")),
    "4 taught, scaled": Method(four("teacher"), scaled=True),
    "4 taught, fast, slow student": Method(four("teacher", **FAST, **SLOW)),
    "4 taught, early times": Method(four("teacher", times=EARLY) | {"calls": None}),
    "4 taught, from 1": Method(four("teacher"), start="1"),
    "4 fast, batch 512": Method(four(**FAST, **LARGE)),
    "4 faster, batch 512": Method(four(fake_lr=6e-3, **LARGE)),
    "4 taught, fast, batch 512": Method(four("teacher", **FAST, **LARGE)),
    "4 fast, batch 512, from 1": Method(four(**FAST, **LARGE), start="1 fast"),
    "4 fast, slow student, batch 512, from 1": Method(four(**FAST, **SLOW, **LARGE), start="1 fast"),
    "4 fast, fast student, batch 512, from 1": Method(four(**FAST, generator_lr=1e-3, **LARGE), start="1 fast"),
    "4 fast, fast student, batch 512, from 1 and its fake": Method(
        four(**FAST, generator_lr=1e-3, **LARGE), start="1 fast", start_fake=True
    ),
    "4 fast, batch 512, from 1 and its fake": Method(four(**FAST, **LARGE), start="1 fast", start_fake=True),
    "4 fast, slow student, batch 512, from 1 and its fake": Method(
        four(**FAST, **SLOW, **LARGE), start="1 fast", start_fake=True
    ),
}


class World:
    """Digits, the teacher and FDs.

    Args:
        family: of the teacher's path, from `FAMILIES`.
        folder: of the teacher, trained once.
    """

    def __init__(self, family: str, folder: Path):
        self.family = family
        self.digits = Digits("mlp", folder, None, FAMILIES[family])
        self.teacher = self.digits.teacher("good")
        file = folder / "longer.pt"
        if not file.is_file():
            torch.save(self._longer().state_dict(), file)
        self.teacher.load_state_dict(torch.load(file, weights_only=True))

    def _longer(self) -> MatchingModel:
        """The good teacher after another 6,000 updates."""
        config = dataclasses.replace(self.digits.recipe.teacher, updates=6000, lr=2e-3, seed=5, device="cpu")
        teacher = copy.deepcopy(self.teacher).requires_grad_(True)
        task = TeacherTask(teacher, self.digits.data, config, make_accelerator(config))
        for update in range(config.updates):
            task.update(update)
            task.ema.update()
        averaged = task.ema.averaged(config.ema[0])
        assert isinstance(averaged, MatchingModel)
        return averaged

    def of_teacher(self, count: int = 3000) -> float:
        """FD of the teacher at 50 calls of its sampler, computed once."""
        file = self.digits.folder / "fd.json"
        if not file.is_file():
            steps, sampler = self.digits.recipe.evaluate.steps, self.digits.recipe.evaluate.sampler
            labels = spread_labels([1] * 10, count)
            made = torch.cat(list(generate(self.teacher, count, labels=labels, steps=steps, sampler=sampler, seed=8)))
            write_json(file, self.digits.evaluator.score([made.reshape(-1, 1, 8, 8)], full=False).fd)
        return float(json.loads(file.read_text()))

    @torch.no_grad()
    def fds(self, student: Student, count: int = 3000) -> list[float]:
        """FD at 1, 2, ... calls, from the same rollouts."""
        torch.manual_seed(8)
        labels = spread_labels([1] * 10, count)
        z = torch.randn(count, *student.shape)
        found = student.predictions(
            z, Condition(labels=labels), torch.randn(count, max(1, student.calls - 1), *z.shape[1:])
        )
        return [self.digits.evaluator.score([x.reshape(-1, 1, 8, 8)], full=False).fd for x in found]

    def trained(
        self,
        config: DistillConfig,
        scaled: bool = False,
        start: Student | None = None,
        fake: MatchingModel | None = None,
    ) -> tuple[Student, MatchingModel, list[list[float]]]:
        """A student, its fake model, and FDs by call after each quarter of the run."""
        task = DistillTask(self.teacher, self.digits.data, config, make_accelerator(config), start, fake)
        if scaled:
            scale(task)
        curve, averaged = list[list[float]](), task.generator
        for update in range(config.updates):
            task.update(update)
            task.ema.update()
            if (update + 1) % max(1, config.updates // 4) == 0:
                averaged = task.ema.averaged(config.ema[0])  # type: ignore[assignment]
                curve.append(self.fds(averaged))
        return averaged, task.fake, curve


def scale(task: DistillTask) -> None:
    """Multiply the generator's gradients of call k by tau_1 / tau_k."""
    inner, times = task.learner.call, task.generator.times
    factors = torch.tensor([times[0] / t for t in times])

    def call(z: torch.Tensor, condition: Condition, eps: torch.Tensor, calls: tuple[int, ...], *rest: Any) -> Any:
        x = inner(z, condition, eps, calls, *rest)
        if x.requires_grad:
            x.register_hook(lambda gradient: gradient * factors[list(calls)][:, None])
        return x

    task.learner.call = call


def run(world: World, name: str, seed: int, options: argparse.Namespace) -> None:
    """One student, unless it was made before."""
    file, method = options.out / world.family / f"{name}, seed {seed}.json", METHODS[name]
    if file.is_file():
        return
    one = dataclasses.replace(
        world.digits.settings, calls=1, batch=128, updates=options.updates, lr_decay="cosine", seed=seed
    )
    start, fake = None, None
    if method.start:
        start, fake, _ = world.trained(dataclasses.replace(one, **METHODS[method.start].settings))
    config = dataclasses.replace(one, **method.settings)
    *_, curve = world.trained(config, method.scaled, start, fake if method.start_fake else None)
    passes = update_cost(config).passes * config.batch * config.updates
    result = {"method": name, "seed": seed, "updates": config.updates, "passes": passes, "curve": curve}
    write_json(file, {**result, "teacher": world.of_teacher()})
    print(world.family, name, seed, curve[-1], flush=True)


def tables(folder: Path) -> None:
    """Mean and standard deviation over seeds of the last FDs, and the cost of a run in millions of forward passes."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for file in sorted(folder.glob("*/*, seed *.json")):
        result = json.loads(file.read_text())
        found.setdefault((file.parent.name, result["method"]), []).append(result)
    print("| family | student | seeds | passes, M | 1 call | 2 calls | 3 calls | 4 calls | teacher |")
    print("|---|---|---|---|---|---|---|---|---|")
    for family, method in ((f, m) for f in FAMILIES for m in METHODS if (f, m) in found):
        results, cells = found[family, method], []
        for values in zip(*(result["curve"][-1] for result in results), strict=True):
            spread = f" ± {statistics.stdev(values):.2g}" if len(values) > 1 else ""
            cells.append(f"{statistics.mean(values):.3f}{spread}")
        cells += [""] * (4 - len(cells))
        passes = f"{results[0]['passes'] / 1e6:.2f}"
        print(
            f"| {family} | {method} | {len(results)} | {passes} | {' | '.join(cells)} | {results[0]['teacher']:.3f} |"
        )


def main() -> None:
    """Make the runs asked for, seed by seed, or print what there is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", nargs="+", default=["flow"], choices=FAMILIES)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--updates", type=int, default=400)
    parser.add_argument("--tables", action="store_true", help="print the runs that there are, and make none")
    parser.add_argument("--out", type=Path, default=Path("runs/calls-mlp"))
    options = parser.parse_args()
    worlds = [] if options.tables else [World(name, options.out / name / "teachers") for name in options.families]
    for seed in range(options.seeds):
        for world in worlds:
            for method in options.methods:
                run(world, method, seed, options)
    tables(options.out)


if __name__ == "__main__":
    main()
