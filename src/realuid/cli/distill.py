"""realuid distill RECIPE[:STUDENT] --teacher FOLDER: distil a teacher into a one-step generator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from realuid.cli.options import console, parse, refuse_existing, replace, say_result, split_recipe, split_student
from realuid.errors import ConfigError
from realuid.models import MatchingModel
from realuid.recipes import DataConfig, Recipe, load_recipe
from realuid.recipes.estimate import describe_student_run
from realuid.recipes.run import RECIPE, run_named_student, run_student
from realuid.teachers import load_teacher
from realuid.training import DistillConfig, fine_tuning, load_start
from realuid.training.config import to_dict


@dataclass(frozen=True)
class Options:
    """Distil a teacher into a one-step generator by a recipe; every setting of the recipe is an option."""

    data: DataConfig
    distill: Annotated[DistillConfig, tyro.conf.arg(name="")]
    #: The teacher: a model folder or a run folder.
    teacher: Path = Path("runs/teacher")
    #: Fine-tune: start from this distilled generator, with the fake model from the teacher, a third of the recipe's
    #: learning rates and no warm-up, unless told otherwise.
    start: Path | None = None
    #: Which average of its weights to start from: its decay. None: the best.
    start_ema: float | None = None
    #: Folder of the run.
    out: Path = Path("runs/student")
    #: Continue the run in --out from its last checkpoint, with the settings it was started with.
    resume: bool = False
    #: Print the resolved configuration, parameter count and estimates, and stop.
    dry_run: bool = False


def run(arguments: Sequence[str]) -> None:
    """Carry out the command."""
    arguments, student = split_student(arguments)
    recipe, rest = split_recipe(arguments, "demo")
    starts = any(word.split("=")[0] == "--start" for word in rest)
    config = recipe.distill
    if student:
        config = recipe.student(student)
    elif starts:
        config = fine_tuning(recipe.distill)
    options = parse(Options, "distill", rest, Options(recipe.data, config), "RECIPE[:STUDENT]")
    if options.start_ema is not None and options.start is None:
        raise ConfigError("--start-ema without --start: say which distilled generator to start from.")
    chain = bool(student and recipe.origin(student) and options.start is None)
    asked = replace(recipe, data=options.data, distill=options.distill)
    if options.resume and not chain:
        asked = load_recipe(str(options.out / RECIPE))
    teacher = load_teacher(options.teacher)
    if options.dry_run:
        console.print(describe_student_run(asked, teacher), highlight=False, markup=False)
    elif chain:
        _run_chain(recipe, student, options, teacher)
    else:
        _run_one(asked, student or "distill", options, teacher)


def _run_one(recipe: Recipe, name: str, options: Options, teacher: MatchingModel) -> None:
    refuse_existing(options.out, options.resume)
    about: dict[str, Any] = {"teacher": str(options.teacher)}
    start = None
    if options.start is not None:
        start = load_start(options.start, options.start_ema)
        about["start"] = {"student": str(options.start), "ema": options.start_ema or "best"}
    if name in recipe.published:
        about["published_fid"] = recipe.published[name]
    run_student(recipe, teacher, options.out, start=start, resume=options.resume, about=about)
    say_result("student", options.out)


def _run_chain(recipe: Recipe, name: str, options: Options, teacher: MatchingModel) -> None:
    """The student and all those it starts from, in folders of their names; only the last one listens to options."""
    students = {**recipe.students, name: {**recipe.students[name], **to_dict(options.distill)}}
    recipe = replace(recipe, data=options.data, students=students)
    for stage in (*recipe.ancestors(name), name):
        refuse_existing(options.out / stage, options.resume)
    run_named_student(recipe, name, teacher, options.out, teacher_name=str(options.teacher), chain=True)
    say_result("student", options.out / name)
