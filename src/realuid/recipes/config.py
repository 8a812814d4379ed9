"""Recipes: typed, complete configurations of a teacher and its students, saved with every run."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from realuid.errors import ConfigError, unknown_name
from realuid.models import NetworkConfig
from realuid.recipes.sections import DataConfig, EvaluateConfig, PathConfig, SweepConfig
from realuid.recipes.text import parse_yaml, read_text
from realuid.settings import from_plain
from realuid.training import DistillConfig, TeacherConfig
from realuid.training.config import fine_tuning
from realuid.training.settings import decided, renamed, to_dict

#: Allowed names of students, which are also names of folders.
_FOLDER = re.compile(r"\w[\w.=+-]*")
#: Keys of a student that are not settings of its distillation.
_START = ("start", "start_ema")


class Origin(NamedTuple):
    """Start of a fine-tuned student: another student and the EMA decay of its weights (None: its best model)."""

    student: str
    ema: float | None


@dataclass(frozen=True)
class Recipe:
    """One complete run: data, network, path, teacher, distillation, evaluation."""

    name: str = "custom"
    description: str = ""
    data: DataConfig = field(default_factory=DataConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    path: PathConfig = field(default_factory=PathConfig)
    teacher: TeacherConfig = field(default_factory=TeacherConfig)
    distill: DistillConfig = field(default_factory=DistillConfig)
    #: Students of `realuid demo`: name -> settings that differ from `distill`. With `start: NAME` a student is
    #: fine-tuned from an earlier one's best model (`start_ema`: from the EMA of that decay), see `fine_tuning`.
    students: dict[str, dict[str, Any]] = field(default_factory=dict)
    #: `realuid demo` trains students in two processes at a time, on a CPU: for networks too small to use all of its
    #: cores. Figures do not depend on it, up to rounding.
    side_by_side: bool = False
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    sweep: SweepConfig = field(default_factory=SweepConfig)
    #: Published FIDs for this setting: of 'teacher', of 'distill' and of students by name.
    published: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = list(self.students)
        for i, name in enumerate(names):
            if name == "teacher" or not _FOLDER.fullmatch(name):
                raise ConfigError(
                    f"students: '{name}' is no name for a student, which becomes a folder's. Needed are letters, "
                    "digits and _ . = + - after a first letter or digit, and not 'teacher'."
                )
            self.student(name)
            if (origin := self.origin(name)) and origin.student not in names[:i]:
                earlier = ", ".join(names[:i]) or "none"
                raise ConfigError(f"students.{name}: start = {origin.student} is no earlier student ({earlier}).")

    def student(self, name: str) -> DistillConfig:
        """The distillation settings of one of the students."""
        changes = decided(renamed({k: v for k, v in self._changes(name).items() if k not in _START}))
        allowed = {f.name for f in dataclasses.fields(DistillConfig)}
        for key in changes:
            if key not in allowed:
                raise ConfigError(f"students.{name}: {unknown_name('setting', key, allowed | set(_START))}")
        base = fine_tuning(self.distill) if self.origin(name) else self.distill
        return from_plain(DistillConfig, {**to_dict(base), **changes}, f"students.{name}")

    def _changes(self, name: str) -> dict[str, Any]:
        if name not in self.students:
            raise ConfigError(unknown_name(f"student of recipe '{self.name}'", name, self.students))
        return self.students[name]

    def origin(self, name: str) -> Origin | None:
        """Start of a student, or None if it is distilled from scratch."""
        changes = self._changes(name)
        if "start" in changes:
            return Origin(str(changes["start"]), changes.get("start_ema"))
        if "start_ema" in changes:
            raise ConfigError(f"students.{name}: start_ema without start. Name the student to start from.")
        return None

    def anchored(self) -> Recipe:
        """The same with absolute paths, to be read back from another working folder."""
        from realuid.data import DEGRADATIONS, absolute_source

        weights, prompts, pairs = self.evaluate.inception_weights, self.evaluate.prompts, self.data.pairs
        pairs = absolute_source(pairs) if pairs and pairs not in DEGRADATIONS else pairs
        return dataclasses.replace(
            self,
            data=dataclasses.replace(self.data, source=absolute_source(self.data.source), pairs=pairs),
            evaluate=dataclasses.replace(
                self.evaluate,
                inception_weights=weights and str(Path(weights).resolve()),
                prompts=prompts and absolute_source(prompts),
            ),
        )

    def ancestors(self, name: str) -> list[str]:
        """The students that have to be trained before this one, in order."""
        origin = self.origin(name)
        return [*self.ancestors(origin.student), origin.student] if origin else []


def recipe_names() -> list[str]:
    """Names of the recipes that come with realuid."""
    folder = resources.files("realuid.recipes")
    return sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml"))


def load_recipe(name_or_path: str) -> Recipe:
    """A recipe by name, or from a YAML file.

    Raises:
        ConfigError: for an unknown name, a missing file, bad YAML, an unknown key or a value of the wrong type.
    """
    return parse_recipe(_read(name_or_path), name_or_path)


def _read(name_or_path: str) -> str:
    path = Path(name_or_path)
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise ConfigError(f"no recipe file at '{name_or_path}'. Recipes by name: {', '.join(recipe_names())}.")
        return read_text(path)
    if name_or_path not in recipe_names():
        raise ConfigError(unknown_name("recipe", name_or_path, recipe_names()) + " Or pass a .yaml file.")
    return resources.files("realuid.recipes").joinpath(f"{name_or_path}.yaml").read_text()


def parse_recipe(text: str, where: str) -> Recipe:
    """A recipe from YAML text; `where` is for messages.

    With `base: NAME` it changes another recipe: mappings are merged, null removes a value of the base, and
    anything else replaces it.
    """
    values = {name: _in_section(name, section, decided) for name, section in _values(text, where).items()}
    return from_plain(Recipe, values, where)


def _values(text: str, where: str, above: tuple[str, ...] = ()) -> dict[str, Any]:
    values = parse_yaml(text, where)
    if values is None:
        raise ConfigError(f"'{where}' is empty. Write `base: demo` into it, or any recipe's name, and what differs.")
    if not isinstance(values, dict):
        raise ConfigError(f"'{where}' must hold sections ({', '.join(f.name for f in dataclasses.fields(Recipe))}).")
    values = {name: _in_section(name, section, renamed) for name, section in values.items()}
    if (base := values.pop("base", None)) is None:
        return values
    if not isinstance(base, str):
        raise ConfigError(f"'{where}': base = {str(base)[:100]} is not the name of a recipe.")
    if base in (chain := (*above, where)):
        raise ConfigError(
            f"'{where}': base is {'the recipe itself' if base == where else ' -> '.join((*chain, base))}."
        )
    return _join(_values(_read(base), base, chain), values)


def _in_section(name: str, section: Any, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    """A section of a recipe, changed where it holds settings of training."""
    if not isinstance(section, dict):
        return section
    if name == "students":
        return {student: change(each) if isinstance(each, dict) else each for student, each in section.items()}
    return change(section) if name in ("teacher", "distill") else section


def _join(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    both = {k: _join(base[k], v) for k, v in changes.items() if isinstance(v, dict) and isinstance(base.get(k), dict)}
    return {k: v for k, v in {**base, **changes, **both}.items() if v is not None}


def dump_recipe(recipe: Recipe) -> str:
    """A recipe as YAML, complete; `parse_recipe` reads it back."""
    return yaml.safe_dump(to_dict(recipe), sort_keys=False, default_flow_style=None, width=120)
