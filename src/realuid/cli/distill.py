"""realuid distill RECIPE[:STUDENT] --teacher FOLDER: distil a teacher into a student."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
    say_next,
    say_result,
    split_recipe,
    split_student,
    value_of,
)
from realuid.errors import ConfigError
from realuid.processes import come
from realuid.recipes import DataConfig, Recipe
from realuid.training import DistillConfig, fine_tuning
from realuid.training.settings import to_dict

if TYPE_CHECKING:
    from realuid.data import Dataset
    from realuid.models import MatchingModel
    from realuid.recipes.spec import NamedTeacher


@dataclass(frozen=True)
class Options:
    """Distil a teacher into a student of one call or a few by a recipe; every setting of the recipe is an option."""

    data: DataConfig
    distill: Annotated[DistillConfig, tyro.conf.arg(name="")]
    #: The teacher: a folder of realuid or diffusers, a file of EDM, torchcfm or the RealUID authors, or a Hub id; when
    #: resuming, its new location if it was moved. 'none' (experimental): no teacher; the mixture objective learns from
    #: data alone, with the recipe's network.
    teacher: str = "runs/teacher"
    #: Which of the teacher's weights, if a file holds several: an EMA decay, or 'raw'.
    key: str | None = None
    #: Fine-tune this distilled student: by default with the fake model initialised from the teacher, a third of the
    #: recipe's learning rates and no warm-up.
    start: str | None = None
    #: EMA decay of the weights to start from. None: the best model of its run.
    start_ema: float | None = None
    #: With --start, also start the fake model from that of its run, rather than from the teacher.
    start_fake: bool = False
    #: Folder of the run.
    out: Path = Path("runs/student")
    #: Accept a teacher that denoises worse than a linear denoiser (see `realuid check-teacher`).
    trust_teacher: bool = False
    #: Continue the run in --out from its last checkpoint with the settings it was started with; --updates may be
    #: larger.
    resume: bool = False
    #: Print the resolved settings with parameter count, memory and time, and stop.
    dry_run: bool = False
    #: With --dry-run: the memory of a GPU, such as 24GB. Says the peak of every part on it, and settings that fit.
    gpu: Annotated[str, tyro.conf.arg(name="for")] = ""


def run(arguments: Sequence[str]) -> None:
    """Run the command."""
    from realuid.recipes.run import recipe_of_run

    arguments, student = split_student(arguments)
    recipe, rest = split_recipe(arguments, "demo")
    if not {"--help", "-h", "--dry-run"} & set(rest):
        come()
    if not names_recipe(arguments) and not {"--help", "-h", "--resume"} & set(rest):
        no_teacher = value_of("--teacher", rest, "") == "none"
        recipe = recipe if no_teacher else recipe_for_teacher(rest)
    started = passed("--start", rest)
    chain = [*recipe.ancestors(student), student] if student and not started else []
    stages = chain if len(chain) > 1 else []
    run = None if stages else resumed_run(rest, Options.out)
    asked = recipe_of_run(run) if run else replace(recipe, distill=_settings(recipe, student, started), students={})
    options = parse(Options, "distill", rest, Options(asked.data, asked.distill), "RECIPE[:STUDENT]")
    if options.gpu and not options.dry_run:
        raise ConfigError(f"--for {options.gpu} without --dry-run: it only says what fits. Pass both, or neither.")

    from realuid.recipes.run import teacher_of_run
    from realuid.recipes.spec import NO_TEACHER, named_teacher

    if options.start_ema is not None and options.start is None:
        raise ConfigError("--start-ema without --start: pass --start, the student to start from.")
    if options.start_fake and options.start is None:
        raise ConfigError("--start-fake without --start: pass --start, the student to start from.")
    if run:
        refuse_changes(arguments, options, asked, "data", "distill")
    asked = replace(asked, data=options.data, distill=options.distill, students={})
    name, place, key = options.teacher, options.teacher, options.key
    if options.resume and not passed("--teacher", rest):
        name, place, key = teacher_of_run(options.out / stages[0] if stages else options.out)
    teacher = named_teacher(name, asked, place=place, key=key)
    if stages and name == NO_TEACHER:
        raise ConfigError(
            f"teacher = none: student '{student}' starts from another one. Distil one that does not, or pass --start."
        )
    if stages:
        _run_chain(recipe, stages, options, teacher)
    else:
        _run_one(asked, student or "distill", options, teacher)


def _settings(recipe: Recipe, student: str, started: bool) -> DistillConfig:
    """The recipe's settings of a student ('' for none), or of a fine-tuned one, before options are applied."""
    if student:
        return recipe.student(student)
    return fine_tuning(recipe.distill) if started else recipe.distill


def _run_one(recipe: Recipe, name: str, options: Options, teacher: NamedTeacher) -> None:
    from realuid.recipes.estimate import describe_student_run
    from realuid.recipes.memory import describe_memory
    from realuid.recipes.spec import student_spec
    from realuid.training import load_fake, load_start
    from realuid.training.folder import refuse_existing

    about: dict[str, Any] = {}
    start = fake = None
    if not options.dry_run:
        refuse_existing(options.out, options.resume)
    if options.start is not None and options.resume:
        _refuse_start(options)
    if options.start is not None:
        start = load_start(options.start, options.start_ema)
        about["start"] = {"student": options.start, "ema": options.start_ema or "best"}
    if options.start is not None and options.start_fake:
        fake = load_fake(options.start, teacher.model)
        about["start"]["fake"] = True
    if name in recipe.published:
        about["published_fid"] = recipe.published[name]
    run = student_spec(recipe, teacher, options.out, start=start, fake=fake, about=about)
    if options.dry_run:
        console.print(describe_memory(run, options.gpu) if options.gpu else describe_student_run(run))
        return
    _require_sound(run.teacher, run.data, options)
    run.run(options.resume)
    _say(options.out, run.teacher.model, recipe.distill)


def _refuse_start(options: Options) -> None:
    """Raise ConfigError for another student to start from than the run in --out was started with."""
    from realuid.training.checkpoints import Checkpoints
    from realuid.training.folder import CHECKPOINTS

    folder = Checkpoints(options.out / CHECKPOINTS).latest()[1]
    known = Checkpoints.read_meta(folder).get("about", {}).get("start", {}).get("student")
    if options.start != known:
        raise ConfigError(
            f"--start {options.start} with --resume: the run goes on with what it was started with ({known or 'none'})."
            " Leave it out."
        )


def _run_chain(recipe: Recipe, stages: Sequence[str], options: Options, teacher: NamedTeacher) -> None:
    """A student and all students it starts from, in folders of their names; options apply to the last one only."""
    from realuid.recipes.chains import make_student
    from realuid.recipes.estimate import describe_student_run
    from realuid.recipes.run import recipe_data
    from realuid.recipes.spec import student_spec
    from realuid.training.compatibility import check_student_run
    from realuid.training.folder import refuse_existing

    name = stages[-1]
    students = {**recipe.students, name: {**recipe.students[name], **to_dict(options.distill)}}
    recipe = replace(recipe, data=options.data, students=students)
    data = recipe_data(recipe, teacher.model)
    for stage in stages:
        check_student_run(teacher.model, data, recipe.student(stage))
    if options.dry_run:
        run = student_spec(replace(recipe, distill=options.distill, students={}), teacher, options.out, data=data)
        console.print(describe_student_run(run))
        return
    for stage in stages:
        refuse_existing(options.out / stage, options.resume)
    _require_sound(teacher, data, options)
    make_student(recipe, name, teacher, options.out, data)
    _say(options.out / name, teacher.model, recipe.student(name))


def _say(folder: Path, teacher: MatchingModel, config: DistillConfig) -> None:
    """What was made, and what may be done with it."""
    prompts = ' --prompts "a prompt"' if teacher.network.usual_guidance is not None else ""
    say_result("student", folder)
    say_next(
        f"realuid sample {folder}{prompts} --out grid.png",
        f"realuid evaluate {folder}",
        f"realuid export {folder} student --to diffusers",
        *([f"realuid export {folder} adapter --to lora"] if config.lora_rank else []),
    )


def _require_sound(teacher: NamedTeacher, data: Dataset, options: Options) -> None:
    from realuid.loaders.check import require_sound
    from realuid.recipes.spec import NO_TEACHER

    if not (options.trust_teacher or options.resume or teacher.name == NO_TEACHER):
        require_sound(teacher.model, data)
