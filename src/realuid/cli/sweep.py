"""realuid sweep RECIPE --teacher FOLDER: compare many settings with one teacher."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from realuid.cli.options import (
    console,
    names_recipe,
    parse,
    passed,
    recipe_for_teacher,
    refuse_changes,
    replace,
    resumed_run,
    split_recipe,
    split_student,
)
from realuid.errors import ConfigError
from realuid.recipes import DataConfig, EvaluateConfig, SweepConfig
from realuid.training import DistillConfig


@dataclass(frozen=True)
class Options:
    """Grid or random search for the best (alpha, beta / alpha); other settings come from the recipe."""

    data: DataConfig
    sweep: Annotated[SweepConfig, tyro.conf.arg(name="")]
    distill: DistillConfig
    evaluate: EvaluateConfig
    #: The teacher of all trials, as for `realuid distill`; with --resume that of the sweep by default.
    teacher: str = "runs/teacher"
    #: Folder of the sweep.
    out: Path = Path("runs/sweep")
    #: Accept a teacher that denoises worse than a linear denoiser (see `realuid check-teacher`).
    trust_teacher: bool = False
    #: Number of trials in parallel, each in its own process.
    processes: int = 1
    #: Continue the sweep in --out with the settings it was started with; finished trials are kept.
    resume: bool = False
    #: List the trials and stop.
    dry_run: bool = False


def run(arguments: Sequence[str]) -> None:
    """Run the command."""
    from realuid.recipes.run import SWEEP, recipe_of_run

    arguments, student = split_student(arguments)
    recipe, rest = split_recipe(arguments, "demo")
    run = resumed_run(rest, Options.out)
    if run:
        recipe = recipe_of_run(run, SWEEP)
    elif not names_recipe(arguments) and not {"--help", "-h"} & set(rest):
        recipe = recipe_for_teacher(rest)
    elif student:
        recipe = replace(recipe, distill=recipe.student(student), students={})
    default = Options(recipe.data, recipe.sweep, recipe.distill, recipe.evaluate)
    options = parse(Options, "sweep", rest, default, "RECIPE[:STUDENT]")

    from realuid.recipes.run import teacher_of_run
    from realuid.recipes.sweep import run_sweep
    from realuid.recipes.trials import make_trials

    if options.processes < 1:
        raise ConfigError(f"processes = {options.processes}: must be at least 1.")
    teacher = options.teacher
    if run:
        refuse_changes(arguments, options, recipe, "data", "sweep", "distill", "evaluate", longer=False)
        recipe = replace(recipe, data=options.data)
        teacher = options.teacher if passed("--teacher", rest) else teacher_of_run(run)[1]
    else:
        recipe = replace(
            recipe,
            data=options.data,
            sweep=options.sweep,
            distill=options.distill,
            evaluate=options.evaluate,
            students={},
        )
    if options.dry_run:
        trials, refused = make_trials(recipe.sweep, recipe.distill)
        for line in [trial.name for trial in trials] + [f"left out: {reason}" for reason in refused]:
            console.print(line)
        return
    if not options.resume and (options.out / SWEEP).exists():
        raise ConfigError(f"'{options.out}' already holds a sweep. Pass --resume to continue it, or another --out.")
    trust = options.trust_teacher or options.resume
    results = run_sweep(recipe, teacher, options.out, options.processes, console.print, trust_teacher=trust)
    for row in reversed(results["settings"]):  # the best first
        fd = " and ".join(sorted(set(row["status"]))) if row["fd_mean"] is None else f"{row['fd_mean']:.3f}"
        setting = ", ".join(f"{k} = {v:g}" for k, v in row["settings"].items())
        console.print(f"{setting}, beta = {row['beta']:g}: FD {fd}")
    console.print(f"page: {options.out / 'sweep.html'}")
