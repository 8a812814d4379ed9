"""realuid train RECIPE: train a teacher."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from realuid.cli.options import console, parse, refuse_changes, replace, say_result, split_recipe
from realuid.models import NetworkConfig
from realuid.recipes import DataConfig, PathConfig
from realuid.recipes.estimate import describe_teacher_run
from realuid.recipes.run import recipe_of_run, refuse_existing, run_teacher
from realuid.training import TeacherConfig


@dataclass(frozen=True)
class Options:
    """Train a teacher by a recipe; every setting of the recipe is an option."""

    data: DataConfig
    network: NetworkConfig
    path: PathConfig
    teacher: Annotated[TeacherConfig, tyro.conf.arg(name="")]
    #: Folder of the run.
    out: Path = Path("runs/teacher")
    #: Continue the run in --out from its last checkpoint, with the settings it was started with.
    resume: bool = False
    #: Print the resolved configuration, parameter count and estimates, and stop.
    dry_run: bool = False


def run(arguments: Sequence[str]) -> None:
    """Carry out the command."""
    recipe, rest = split_recipe(arguments, "demo")
    default = Options(recipe.data, recipe.network, recipe.path, recipe.teacher)
    options = parse(Options, "train", rest, default, "RECIPE")
    if options.resume:
        recipe = recipe_of_run(options.out)
        refuse_changes(Options, "train", rest, recipe, "data", "network", "path", "teacher")
    else:
        recipe = replace(recipe, data=options.data, network=options.network, path=options.path, teacher=options.teacher)
    if options.dry_run:
        console.print(describe_teacher_run(recipe), highlight=False, markup=False)
        return
    refuse_existing(options.out, options.resume)
    run_teacher(recipe, options.out, resume=options.resume)
    say_result("teacher", options.out)
