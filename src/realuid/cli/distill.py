"""realuid distill RECIPE --teacher FOLDER: distil a teacher into a one-step generator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from realuid.cli.options import console, parse, recipe_of_run, refuse_existing, replace, split_recipe
from realuid.recipes import DataConfig
from realuid.recipes.estimate import describe_student_run
from realuid.recipes.run import run_student, teacher_of_run
from realuid.teachers import load_teacher
from realuid.training import DistillConfig


@dataclass(frozen=True)
class Options:
    """Distil a teacher into a one-step generator by a recipe; every setting of the recipe is an option."""

    data: DataConfig
    distill: Annotated[DistillConfig, tyro.conf.arg(name="")]
    #: The teacher: a model folder or a run folder. --resume takes the one the run was started with.
    teacher: Path = Path("runs/teacher")
    #: Folder of the run.
    out: Path = Path("runs/student")
    #: Continue the run in --out from its last checkpoint, with the settings it was started with.
    resume: bool = False
    #: Print the resolved configuration, parameter count and estimates, and stop.
    dry_run: bool = False


def run(arguments: Sequence[str]) -> None:
    """Carry out the command."""
    recipe, rest = split_recipe(arguments, "demo")
    options = parse(Options, "distill", rest, Options(recipe.data, recipe.distill), "RECIPE")
    if options.resume:
        recipe, folder = recipe_of_run(options.out), teacher_of_run(options.out)
    else:
        recipe, folder = replace(recipe, data=options.data, distill=options.distill), str(options.teacher)
    teacher = load_teacher(folder)
    if options.dry_run:
        console.print(describe_student_run(recipe, teacher), highlight=False, markup=False)
        return
    refuse_existing(options.out, options.resume)
    run_student(recipe, teacher, options.out, resume=options.resume, teacher_name=folder)
    console.print(f"student: {options.out}", highlight=False)
