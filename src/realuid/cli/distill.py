"""realuid distill RECIPE --teacher FOLDER: distil a teacher into a one-step generator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from realuid.cli.options import console, parse, refuse_existing, replace, split_recipe
from realuid.recipes import DataConfig, load_recipe
from realuid.recipes.estimate import describe_student_run
from realuid.recipes.run import RECIPE, run_student
from realuid.teachers import load_teacher
from realuid.training import DistillConfig


@dataclass(frozen=True)
class Options:
    """Distil a teacher into a one-step generator by a recipe; every setting of the recipe is an option."""

    data: DataConfig
    distill: Annotated[DistillConfig, tyro.conf.arg(name="")]
    #: The teacher: a model folder or a run folder.
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
        recipe = load_recipe(str(options.out / RECIPE))
    else:
        recipe = replace(recipe, data=options.data, distill=options.distill)
    teacher = load_teacher(options.teacher)
    if options.dry_run:
        console.print(describe_student_run(recipe, teacher), highlight=False, markup=False)
        return
    refuse_existing(options.out, options.resume)
    run_student(recipe, teacher, options.out, resume=options.resume, teacher_name=str(options.teacher))
    console.print(f"student: {options.out}", highlight=False)
