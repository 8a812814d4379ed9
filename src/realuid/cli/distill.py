"""realuid distill RECIPE[:STUDENT] --teacher FOLDER: distil a teacher into a one-step generator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from realuid.cli.options import (
    console,
    parse,
    refuse_changes,
    replace,
    resumed_run,
    say_result,
    split_recipe,
    split_student,
)
from realuid.errors import ConfigError
from realuid.loaders import load_teacher
from realuid.loaders.check import require_sound
from realuid.models import MatchingModel
from realuid.recipes import DataConfig, Recipe
from realuid.recipes.estimate import describe_student_run
from realuid.recipes.run import (
    recipe_data,
    recipe_of_run,
    run_named_student,
    run_student,
    teacher_of_run,
)
from realuid.training import DistillConfig, fine_tuning, load_start
from realuid.training.distill import check_degradation, check_distillation, check_fits
from realuid.training.folder import refuse_existing
from realuid.training.settings import to_dict


@dataclass(frozen=True)
class Options:
    """Distil a teacher into a one-step generator by a recipe; every setting of the recipe is an option."""

    data: DataConfig
    distill: Annotated[DistillConfig, tyro.conf.arg(name="")]
    #: The teacher: a folder of realuid or diffusers, a file of EDM, torchcfm or the RealUID authors, or a hub id;
    #: --resume takes the one the run was started with, unless told where it is now.
    teacher: str = "runs/teacher"
    #: Which of the teacher's weights, where a file holds several: the decay of an average, or 'raw'.
    key: str | None = None
    #: Fine-tune: start from this distilled generator, with the fake model from the teacher, a third of the recipe's
    #: learning rates and no warm-up, unless told otherwise.
    start: str | None = None
    #: Which average of its weights to start from: its decay. None: the best.
    start_ema: float | None = None
    #: Folder of the run.
    out: Path = Path("runs/student")
    #: Go on even if the teacher denoises the data worse than trivially (see `realuid check-teacher`).
    trust_teacher: bool = False
    #: Continue the run in --out from its last checkpoint, with the settings it was started with; for longer than
    #: planned with more --updates.
    resume: bool = False
    #: Print the resolved configuration, parameter count and estimates, and stop.
    dry_run: bool = False


def run(arguments: Sequence[str]) -> None:
    """Carry out the command."""
    arguments, student = split_student(arguments)
    recipe, rest = split_recipe(arguments, "demo")
    started = _passed("--start", rest)
    chain = [*recipe.ancestors(student), student] if student and not started else []
    stages = chain if len(chain) > 1 else []
    run = None if stages else resumed_run(rest, Options.out)
    asked = recipe_of_run(run) if run else replace(recipe, distill=_settings(recipe, student, started))
    options = parse(Options, "distill", rest, Options(asked.data, asked.distill), "RECIPE[:STUDENT]")
    if options.start_ema is not None and options.start is None:
        raise ConfigError("--start-ema without --start: say which distilled generator to start from.")
    if run:
        refuse_changes(arguments, options, asked, "data", "distill")
        asked = replace(asked, distill=options.distill)
    else:
        asked = replace(asked, data=options.data, distill=options.distill)
    name, place, key = options.teacher, options.teacher, options.key
    if options.resume and not _passed("--teacher", rest):
        name, place, key = teacher_of_run(options.out / stages[0] if stages else options.out)
    teacher = load_teacher(place, key=key)
    for config in [*map(recipe.student, stages[:-1]), asked.distill]:
        check_distillation(teacher, config)
    if options.dry_run:
        console.print(describe_student_run(asked, teacher), highlight=False, markup=False)
        return
    for folder in [options.out / stage for stage in stages] or [options.out]:
        refuse_existing(folder, options.resume)
    if not (options.trust_teacher or options.resume):
        data = recipe_data(asked, teacher)
        check_fits(teacher, data)
        check_degradation(teacher, data)
        require_sound(teacher, data)
    if stages:
        _run_chain(recipe, student, options, teacher, name, key)
    else:
        _run_one(asked, student or "distill", options, teacher, name, key)


def _passed(option: str, words: Sequence[str]) -> bool:
    return any(word.split("=")[0] == option for word in words)


def _settings(recipe: Recipe, student: str, started: bool) -> DistillConfig:
    """What the recipe says about the student ('' for none), or about one that starts from another, before options."""
    if student:
        return recipe.student(student)
    return fine_tuning(recipe.distill) if started else recipe.distill


def _run_one(recipe: Recipe, name: str, options: Options, teacher: MatchingModel, source: str, key: str | None) -> None:
    about: dict[str, Any] = {}
    start = None
    if options.start is not None:
        start = load_start(options.start, options.start_ema)
        about["start"] = {"student": options.start, "ema": options.start_ema or "best"}
    if name in recipe.published:
        about["published_fid"] = recipe.published[name]
    run_student(
        recipe,
        teacher,
        options.out,
        start=start,
        resume=options.resume,
        teacher_name=source,
        teacher_key=key,
        about=about,
    )
    say_result("student", options.out)


def _run_chain(
    recipe: Recipe, name: str, options: Options, teacher: MatchingModel, source: str, key: str | None
) -> None:
    """The student and all those it starts from, in folders of their names; only the last one listens to options."""
    students = {**recipe.students, name: {**recipe.students[name], **to_dict(options.distill)}}
    recipe = replace(recipe, data=options.data, students=students)
    run_named_student(recipe, name, teacher, options.out, teacher_name=source, teacher_key=key, chain=True)
    say_result("student", options.out / name)
