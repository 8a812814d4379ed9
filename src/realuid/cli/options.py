"""What the commands share: a recipe as the first word, its settings as options, a console."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import tyro
from rich.console import Console

from realuid.errors import CheckpointError, ConfigError
from realuid.models.saving import read_config
from realuid.recipes import DataConfig, Recipe, load_recipe, recipe_names
from realuid.recipes.run import RECIPE
from realuid.teachers import local_path, model_folder, recognise
from realuid.training.checkpoints import Checkpoints

T = TypeVar("T")

#: Text is not folded, so that paths and YAML can be copied; tables are printed with soft_wrap = False.
console = Console(soft_wrap=True)


@dataclass(frozen=True)
class ModelOptions:
    """What the files of a model may leave open."""

    #: Which weights, where a file holds several: the decay of an average, or 'raw'; for diffusers 'unet' or 'unet_ema'.
    key: str | None = None
    #: Which of the two it is, where the files do not tell (pickles of EDM and SiD).
    kind: Literal["teacher", "generator"] | None = None


def split_recipe(arguments: Sequence[str], default: str) -> tuple[Recipe, list[str]]:
    """The recipe named by the first word (a name, or a YAML file), and the other arguments."""
    if arguments and not arguments[0].startswith("-"):
        return load_recipe(arguments[0]), list(arguments[1:])
    return load_recipe(default), list(arguments)


def split_student(arguments: Sequence[str]) -> tuple[list[str], str]:
    """Arguments whose first word is RECIPE[:STUDENT] into those of RECIPE alone, and the student ('' for none)."""
    if not arguments or arguments[0].startswith("-"):
        return list(arguments), ""
    recipe, _, student = arguments[0].partition(":")
    return [recipe, *arguments[1:]], student


def say_result(kind: str, folder: Path) -> None:
    """Where a run is, the best quick FD it saw and, where the recipe knows one, what a paper reports."""
    about = read_config(model_folder(folder))
    reached = (about["trained"].get("best") or {}).get("fd")
    parts = [] if reached is None else [f"best quick FD {reached:.3g}"]
    parts += [f"published FID {about['published_fid']:g}"] if "published_fid" in about else []
    console.print(f"{kind}: {folder}{' (' + ', '.join(parts) + ')' if parts else ''}", highlight=False)


def parse(
    options: type[T], command: str, arguments: Sequence[str], default: T | None = None, positional: str = ""
) -> T:
    """Typed options from the command line; tyro prints help and complaints, and exits with code 2 on the latter.

    Args:
        options: a dataclass.
        command: for the usage line.
        arguments: without the command (and the recipe).
        default: values where nothing is passed, for instance those of a recipe.
        positional: what stands before the options in the usage line.
    """
    recipes = f"recipes: {', '.join(recipe_names())}, or a .yaml file" if positional else None
    return tyro.cli(
        options,
        prog=f"realuid {command} {positional}".strip(),
        description=(options.__doc__ or "") + (f"\n\n{recipes}" if recipes else ""),
        args=list(arguments),
        default=tyro.MISSING_NONPROP if default is None else default,
    )


def replace(recipe: Recipe, **sections: object) -> Recipe:
    """The recipe with some sections replaced."""
    return dataclasses.replace(recipe, **sections)  # type: ignore[arg-type]


def trained_on(model: str) -> DataConfig:
    """The data that realuid trained a model on: its settings, or a source alone; digits where its folder says nothing.

    Raises:
        ConfigError: where its files do not say.
    """
    path = local_path(model)
    if recognise(path) == "realuid":
        said = read_config(model_folder(path)).get("data", {})
        with contextlib.suppress(TypeError):
            return DataConfig(**({"source": said} if isinstance(said, str) else said))
    raise ConfigError(f"'{model}' does not say what it was trained on: pass --data.source, the data to compare with.")


def recipe_of_run(folder: Path) -> Recipe:
    """The recipe a run was started with.

    Raises:
        CheckpointError: where none was started.
    """
    if not (folder / RECIPE).is_file():
        raise CheckpointError(f"nothing to resume: no run was started in '{folder}' ({RECIPE} is missing).")
    return load_recipe(str(folder / RECIPE))


def refuse_existing(folder: Path, resume: bool) -> None:
    """A run never overwrites another one unless told to go on with it."""
    if not resume and Checkpoints(folder / "checkpoints").steps():
        raise ConfigError(f"'{folder}' already holds a run. Pass --resume to continue it, or another --out.")
