"""Functions shared by the commands: a recipe as first argument, its settings as options, console output."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise, takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import tyro
from rich.console import Console
from rich.highlighter import JSONHighlighter
from rich.text import Text

from realuid.devices import choose_device, tune_process
from realuid.errors import ConfigError
from realuid.files import to_json
from realuid.processes import is_first
from realuid.recipes import DataConfig, Recipe, load_recipe, recipe_names
from realuid.text import printable
from realuid.training.settings import FREE, MOVABLE, renamed_options

if TYPE_CHECKING:
    from realuid.exports.student import ExportedStudent
    from realuid.models import MatchingModel, Student
    from realuid.sampling import OneStep


T = TypeVar("T")


class PlainConsole(Console):
    """Prints text as it is: a name in brackets is no markup, and no character in it moves the cursor."""

    def render_str(self, text: str, **style: Any) -> Text:
        """Every string comes by here, those in tables too."""
        return super().render_str(printable(text), **style)


#: Lines are not wrapped, so that paths and YAML can be copied; tables are printed with soft_wrap = False.
#: Of several processes only the first one prints.
console = PlainConsole(soft_wrap=True, markup=False, emoji=False, highlight=False, quiet=not is_first())


def print_json(value: object) -> None:
    """A value as indented JSON, in colours where the terminal has them."""
    console.print(JSONHighlighter()(printable(to_json(value, indent=2, ensure_ascii=False))))


@dataclass(frozen=True)
class ModelOptions:
    """Choices that the files of a model may leave open."""

    #: Which weights, if a file holds several: an EMA decay, or 'raw'; for diffusers 'unet' or 'unet_ema'.
    key: str | None = None
    #: Teacher or generator, if the files do not determine it (pickles of EDM and SiD).
    kind: Literal["teacher", "generator"] | None = None


def load_sampled(
    path: str, loading: ModelOptions, device: str, size: tuple[int, ...] | None = None
) -> MatchingModel | Student | ExportedStudent:
    """A model to sample, on a device; ONNX files run on the CPU, and another explicit device is an error."""
    from realuid.exports import load_any
    from realuid.exports.onnx import OnnxStudent

    chosen, model = choose_device(device), load_any(path, kind=loading.kind, key=loading.key, size=size)
    return model if device == "auto" and isinstance(model, OnnxStudent) else model.to(chosen)


def split_recipe(arguments: Sequence[str], default: str) -> tuple[Recipe, list[str]]:
    """The recipe named by the first word (a name, or a YAML file), and the other arguments."""
    named = names_recipe(arguments)
    return load_recipe(arguments[0] if named else default), list(arguments[1:] if named else arguments)


def names_recipe(arguments: Sequence[str]) -> bool:
    """Whether the first word names a recipe."""
    return bool(arguments) and not arguments[0].startswith("-")


def value_of(option: str, words: Sequence[str], usual: str) -> str:
    """The last value of an option among the words of a command, before they are parsed."""
    parts = [part for word in words for part in (word.split("=", 1) if word.startswith("--") else [word])]
    return next((value for name, value in reversed(list(pairwise(parts))) if name == option), usual)


def recipe_for_teacher(words: Sequence[str]) -> Recipe:
    """The recipe of a command that names none but a teacher: said, and without data where it is not known.

    Raises:
        ConfigError: where the data is not known and not passed.
    """
    from realuid.loaders import load_teacher
    from realuid.recipes.choose import for_teacher, of_teacher

    place = value_of("--teacher", words, "runs/teacher")
    choice = of_teacher(place)
    if choice is None:
        key = value_of("--key", words, "")
        choice = for_teacher(load_teacher(place, key=key or None))
        if not passed("--data.source", words):
            raise ConfigError(f"'{place}' does not record its training data: pass --data.source, or name a recipe.")
    console.print(choice.said)
    return choice.recipe


def split_student(arguments: Sequence[str]) -> tuple[list[str], str]:
    """Arguments whose first word is RECIPE[:STUDENT] into those of RECIPE alone, and the student ('' for none)."""
    if not arguments or arguments[0].startswith("-"):
        return list(arguments), ""
    recipe, colon, student = arguments[0].partition(":")
    if colon and not student:
        raise ConfigError(f"RECIPE = {arguments[0]}: no student is named after the colon. Name one, or leave it out.")
    return [recipe, *arguments[1:]], student


def passed(option: str, words: Sequence[str]) -> bool:
    """Whether an option is among the words of a command."""
    return any(word.split("=")[0] == option for word in words)


def resumed_run(words: Sequence[str], usual: Path) -> Path | None:
    """The folder of the run that `--resume` continues, or None. Read first, since options depend on its recipe.

    Args:
        words: the command's options.
        usual: the default of `--out`.
    """
    switches = [word for word in words if word in ("--resume", "--no-resume")]
    if switches[-1:] != ["--resume"] or "--help" in words or "-h" in words:
        return None
    parts = [part for word in words for part in word.split("=", 1)]
    named = [folder for option, folder in pairwise(parts) if option == "--out"]
    return Path(named[-1]) if named else usual


def say_result(kind: str, folder: Path) -> None:
    """Print a run's folder, its best quick FD and, if the recipe has one, the published FID."""
    from realuid.loaders import model_folder
    from realuid.models.saving.folder import read_config

    about = read_config(model_folder(folder))
    reached = (about["trained"].get("best") or {}).get("fd")
    parts = [] if reached is None else [f"best quick FD {reached:.3g}"]
    parts += [f"published FID {about['published_fid']:g}"] if "published_fid" in about else []
    console.print(f"{kind}: {folder}{' (' + ', '.join(parts) + ')' if parts else ''}")


def say_next(*commands: str) -> None:
    """Print what may be done next."""
    for number, command in enumerate(commands):
        console.print(f"{'next: ' if number == 0 else '      '}{command}")


def parse(
    options: type[T],
    command: str,
    arguments: Sequence[str],
    default: T | None = None,
    positional: str = "",
    tune: bool = True,
) -> T:
    """Typed options from the command line; help is printed, and ends the program.

    Args:
        options: a dataclass.
        command: for the usage line.
        arguments: without the command (and the recipe).
        default: values of options that are not passed, for instance those of a recipe.
        positional: what stands before the options in the usage line.
        tune: prepare the process for computing, which imports torch.

    Raises:
        ConfigError: with tyro's message as one line instead of a box.
    """
    recipes = f"recipes: {', '.join(recipe_names())}, or a .yaml file" if positional else None
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            parsed = tyro.cli(
                options,
                prog=f"realuid {command} {positional}".strip(),
                description=(options.__doc__ or "") + (f"\n\n{recipes}" if recipes else ""),
                args=renamed_options(arguments),
                default=tyro.MISSING_NONPROP if default is None else default,
            )
    except SystemExit as end:
        if not end.code:
            raise
        raise ConfigError(_complaint(said.getvalue())) from end
    if tune:
        tune_process()
    return parsed


def _complaint(box: str) -> str:
    """The message in tyro's box (its title in the frame, or above a rule), up to the next rule."""
    lines = [line.strip("│ ") for line in box.splitlines()]
    inside = lines[1 if box.startswith("╭") else 2 :]
    told = " ".join(line for line in takewhile(lambda line: line[:3] not in ("───", "---"), inside) if line)
    told = re.sub(r"^Error parsing ([\w.-]+): (?=[\w.-]+ = )", r"\1.", told)  # names a section's setting in full
    return told.removeprefix("Error parsing ").rstrip(". ") + ". --help lists the options."


def replace(recipe: Recipe, **sections: object) -> Recipe:
    """The recipe with some sections replaced."""
    return dataclasses.replace(recipe, **sections)  # type: ignore[arg-type]


def trained_on(model: str) -> DataConfig:
    """The training data of a model, as recorded in its folder.

    Raises:
        ConfigError: if its files do not record it.
    """
    said = _about(model).get("data")
    if said is not None:
        said = {"source": said} if isinstance(said, str) else said
        with contextlib.suppress(TypeError):
            if isinstance(said, dict):
                return DataConfig(**said)
    raise ConfigError(f"'{model}' does not record its training data: pass --data.source, the data to compare with.")


def _about(model: str) -> dict[str, Any]:
    """What the files of a model, or of an exported student, say about it; nothing if they are not realuid's."""
    from realuid.exports import ExportedStudent, is_exported, load_any
    from realuid.loaders import local_path, model_folder, recognise
    from realuid.models.saving.folder import read_config

    if is_exported(Path(model)):
        student = load_any(model)
        assert isinstance(student, ExportedStudent)
        return student.contract.about
    path = local_path(model)
    return read_config(model_folder(path)) if recognise(path) == "realuid" else {}


def asked_data(model: str, asked: DataConfig) -> DataConfig:
    """The data given by options; without a source the model's training data, changed by the other options.

    Raises:
        ConfigError: if the model's files do not record it.
    """
    if asked.source:
        return asked
    said = {f.name: getattr(asked, f.name) for f in dataclasses.fields(asked) if getattr(asked, f.name) != f.default}
    if asked.pairs:
        said = {"pairs_seed": 0, **said}  # other pairs do not inherit the seed of the training pairs
    return dataclasses.replace(trained_on(model), **{k: v for k, v in said.items() if k != "source"})


def refuse_pairs(model: MatchingModel | OneStep, asked: DataConfig) -> None:
    """Raise ConfigError if pairs are given for a model that does not use them."""
    if asked.pairs and not model.coupled:
        raise ConfigError(f"data.pairs = {asked.pairs}: the model starts from noise, not from images. Leave it out.")


def refuse_changes(
    words: Sequence[str],
    asked: object,
    run: Recipe,
    *sections: str,
    free: Collection[str] = (),
    longer: bool = True,
) -> None:
    """Raise ConfigError if options differ from those a resumed run was started with, except for where the data is
    and, if `longer`, those in `FREE` and a larger number of updates.

    Args:
        words: of the command; the first one may name a recipe.
        asked: options of the command, with those of the run as defaults.
        run: the recipe the run was started with.
        sections: sections of a recipe that are options of the command.
        free: settings that may change, as 'section.name'.
        longer: whether `FREE` settings and the number of updates may change.
    """
    if words and not words[0].startswith("-") and (named := load_recipe(words[0]).name) != run.name:
        raise ConfigError(
            f"RECIPE = {named} with --resume: the run was started with {run.name}. Leave it out, or start another run "
            "in another --out."
        )
    wanted, started = replace(run, **{name: getattr(asked, name) for name in sections}).anchored(), run.anchored()
    for name in sections:
        old, new = (dataclasses.asdict(getattr(recipe, name)) for recipe in (started, wanted))
        may = FREE | MOVABLE if longer else MOVABLE
        if longer and old.get("updates", 0) < new.get("updates", 0):
            may = may | {"updates"}
        for key in (k for k in old if old[k] != new[k] and k not in may and f"{name}.{k}" not in free):
            hint = "Pass more, leave it out" if longer and key == "updates" else "Leave it out"
            raise ConfigError(
                f"{name}.{key} = {new[key]} with --resume: the run was started with {old[key]}. {hint}, or start "
                "another run in another --out."
            )
