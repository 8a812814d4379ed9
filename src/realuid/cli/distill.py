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
from realuid.recipes.run import recipe_data, run_student, teacher_of_run
from realuid.teachers import load_teacher
from realuid.teachers.check import require_sound
from realuid.training import DistillConfig
from realuid.training.distill import check_fits


@dataclass(frozen=True)
class Options:
    """Distil a teacher into a one-step generator by a recipe; every setting of the recipe is an option."""

    data: DataConfig
    distill: Annotated[DistillConfig, tyro.conf.arg(name="")]
    #: The teacher: a folder of realuid or diffusers, a file of EDM, torchcfm or the RealUID authors, or a hub id;
    #: --resume takes the one the run was started with.
    teacher: str = "runs/teacher"
    #: Which of the teacher's weights, where a file holds several: the decay of an average, or 'raw'.
    key: str | None = None
    #: Folder of the run.
    out: Path = Path("runs/student")
    #: Go on even if the teacher denoises the data worse than trivially (see `realuid check-teacher`).
    trust_teacher: bool = False
    #: Continue the run in --out from its last checkpoint, with the settings it was started with.
    resume: bool = False
    #: Print the resolved configuration, parameter count and estimates, and stop.
    dry_run: bool = False


def run(arguments: Sequence[str]) -> None:
    """Carry out the command."""
    recipe, rest = split_recipe(arguments, "demo")
    options = parse(Options, "distill", rest, Options(recipe.data, recipe.distill), "RECIPE")
    if options.resume:
        recipe, source = recipe_of_run(options.out), teacher_of_run(options.out)
    else:
        recipe, source = replace(recipe, data=options.data, distill=options.distill), options.teacher
    teacher = load_teacher(source, key=options.key)
    if options.dry_run:
        console.print(describe_student_run(recipe, teacher), highlight=False, markup=False)
        return
    refuse_existing(options.out, options.resume)
    if not (options.trust_teacher or options.resume):
        data = recipe_data(recipe)
        check_fits(teacher, data)
        require_sound(teacher, data)
    run_student(recipe, teacher, options.out, resume=options.resume, teacher_name=source)
    console.print(f"student: {options.out}", highlight=False)
