"""realuid train RECIPE [--start TEACHER]: train a teacher, or train one further."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from realuid.cli.options import (
    console,
    names_recipe,
    parse,
    refuse_changes,
    replace,
    resumed_run,
    say_next,
    say_result,
    split_recipe,
)
from realuid.errors import ConfigError
from realuid.models import NetworkConfig
from realuid.processes import come
from realuid.recipes import DataConfig, PathConfig, Recipe
from realuid.training import TeacherConfig

if TYPE_CHECKING:
    from realuid.data import Dataset
    from realuid.recipes.spec import NamedTeacher


@dataclass(frozen=True)
class Options:
    """Train a teacher by a recipe; every setting of the recipe is an option."""

    data: DataConfig
    network: NetworkConfig
    path: PathConfig
    teacher: Annotated[TeacherConfig, tyro.conf.arg(name="")]
    #: Train this teacher further instead of a new one: anything that `realuid distill --teacher` takes.
    start: str | None = None
    #: Which of its weights, if a file holds several: an EMA decay, or 'raw'.
    key: str | None = None
    #: Folder of the run.
    out: Path = Path("runs/teacher")
    #: Continue the run in --out from its last checkpoint with the settings it was started with; --updates may be
    #: larger.
    resume: bool = False
    #: Print the resolved settings with parameter count, memory and time, and stop.
    dry_run: bool = False


def run(arguments: Sequence[str]) -> None:
    """Run the command."""
    from realuid.recipes.run import recipe_of_run

    recipe, rest = split_recipe(arguments, "demo")
    if not {"--help", "-h", "--dry-run"} & set(rest):
        come()
    run = resumed_run(rest, Options.out)
    recipe = recipe_of_run(run) if run else recipe
    data = None
    if not run and not names_recipe(arguments) and not {"--help", "-h"} & set(rest):
        recipe, data = _chosen(recipe, rest)
    options = _options(recipe, rest)

    from realuid.recipes.estimate import describe_teacher_run
    from realuid.recipes.spec import teacher_spec
    from realuid.training.folder import refuse_existing

    unchanged = recipe
    if run:
        refuse_changes(arguments, options, recipe, "data", "network", "path", "teacher")
        recipe = replace(recipe, data=options.data, teacher=options.teacher)
    else:
        recipe = replace(recipe, data=options.data, network=options.network, path=options.path, teacher=options.teacher)
    if not options.dry_run:
        refuse_existing(options.out, options.resume)
    spec = teacher_spec(recipe, options.out, data, _start(options, unchanged, run))
    if options.dry_run:
        console.print(describe_teacher_run(spec))
        return
    spec.run(options.resume)
    say_result("teacher", options.out)
    say_next(
        f"realuid sample {options.out} --out teacher.png",
        f"realuid distill --teacher {options.out} --alpha 0.96 --beta 0.98",
    )


def _chosen(usual: Recipe, words: Sequence[str]) -> tuple[Recipe, Dataset]:
    """A recipe for the data of a command that names none, and the data."""
    asked = _options(usual, words).data

    from realuid.recipes.choose import for_data

    data = asked.load()
    choice = for_data(data, asked)
    console.print(choice.said)
    return choice.recipe, data


def _start(options: Options, recipe: Recipe, run: Path | None) -> NamedTeacher | None:
    """The teacher whose training continues: the one given, or that of the run that is resumed."""
    from realuid.recipes.run import TEACHER, teacher_of_run
    from realuid.recipes.spec import NO_TEACHER, named_teacher

    name, place, key = options.start, options.start, options.key
    if run:
        known = teacher_of_run(run) if (run / TEACHER).is_file() else (None, None, None)
        if (name is not None and name not in known[:2]) or (key is not None and key != known[2]):
            passed = f"--start {name}" if key is None or name is not None else f"--key {key}"
            raise ConfigError(f"{passed} with --resume: the run goes on with what it was started with. Leave it out.")
        name, place, key = known
    if name is None:
        if key is not None:
            raise ConfigError("--key without --start: pass --start, the teacher to train further.")
        return None
    if name == NO_TEACHER:
        raise ConfigError(f"--start {name}: leave --start out for a new teacher.")
    if not run and (options.network, options.path) != (recipe.network, recipe.path):
        raise ConfigError("--start with settings of network or path: both are those of the teacher. Leave them out.")
    return named_teacher(name, recipe, place=place or name, key=key)


def _options(recipe: Recipe, words: Sequence[str]) -> Options:
    """The recipe changed by the command line, where all settings of the chosen path are options."""
    known = _chosen_path(recipe.path, words)
    path = known if known == PathConfig() else known.in_full()  # the linear path has no settings
    default = Options(recipe.data, recipe.network, path, recipe.teacher)
    options = parse(Options, "train", words, default, "RECIPE")
    usual = PathConfig(known.name).in_full().settings
    said = {k: v for k, v in options.path.settings.items() if k in known.settings or v != usual.get(k)}
    return dataclasses.replace(options, path=dataclasses.replace(options.path, settings=said))


def _chosen_path(path: PathConfig, words: Sequence[str]) -> PathConfig:
    """The recipe's path, or the one of `--path.name` with its own defaults instead of the recipe's settings.

    Raises:
        ConfigError: where `--path.settings.NAME` is no setting of it, or has no name.
    """
    parts = [part for word in words for part in (word.split("=", 1) if word.startswith("--path.") else [word])]
    names = [name for option, name in itertools.pairwise(parts) if option == "--path.name"]
    chosen = PathConfig(names[-1]) if names and names[-1] != path.name else path
    for part in parts:
        if part.startswith("--path.settings"):
            setting = part.removeprefix("--path.settings").removeprefix(".").replace("-", "_")
            if setting not in (allowed := chosen.in_full().settings):
                options = ", ".join(f"--path.settings.{name}" for name in allowed)
                raise ConfigError(f"{part}: path '{chosen.name}' has no such setting. Allowed: {options or 'none'}.")
    return chosen
