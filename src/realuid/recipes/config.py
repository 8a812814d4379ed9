"""A recipe: everything a teacher and its students need, typed, complete, saved with the run."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import tyro
import yaml

from realuid.data import DEGRADATIONS, Dataset, absolute_source, load_dataset
from realuid.errors import ConfigError, unknown_name
from realuid.models import NetworkConfig, Preconditioning, check_preconditioning, preconditioning_on
from realuid.paths import Path as MatchingPath
from realuid.paths import check_prediction, make_path, path_class
from realuid.sampling import find_sampler
from realuid.settings import check_range, check_types, from_plain
from realuid.training import DistillConfig, TeacherConfig
from realuid.training.config import fine_tuning
from realuid.training.settings import decided, renamed, to_dict


@dataclass(frozen=True)
class DataConfig:
    """Which data, and in which form."""

    #: 'digits', 'toy:NAME', 'hf:NAME', a folder of images or a zip in the EDM layout.
    source: str = "digits"
    #: 1 (grey) or 3 (RGB) to convert; None keeps images as they are.
    channels: int | None = None
    #: Side length to crop and resize to; None keeps the size.
    resolution: int | None = None
    #: Use class labels: a conditional teacher and student.
    conditional: bool = False
    #: What samples come in pairs with, for coupled paths: a degradation (sr-box-4, inpaint-centre, jpeg-5, blur-1,
    #: grey, ...), or a folder or zip of images with the names of the data's own. None: the data itself says.
    pairs: str | None = None
    #: Of degradations that draw at random (inpaint-freeform): another seed, other draws for the same images.
    pairs_seed: int = 0

    def __post_init__(self) -> None:
        check_types(self)

    def load(self) -> Dataset:
        """The data itself."""
        return load_dataset(self.source, self.channels, self.resolution, self.pairs, self.pairs_seed)


@dataclass(frozen=True)
class PathConfig:
    """The matching model's path."""

    name: str = "linear"
    #: What the network predicts. None: the path's own choice.
    prediction: str | None = None
    #: The path's own settings, for instance a noise level; another path brings its own.
    settings: Annotated[dict[str, bool | float | str], tyro.conf.FlagConversionOff] = field(default_factory=dict)
    #: Scales around the network: plain (none), edm, vp, ve, ... None: the path's own (edm on path ve, plain elsewhere).
    preconditioning: str | None = None
    #: Whether networks are given x_T where the path is coupled, so that they keep pairs together.
    sees_source: bool = True

    def __post_init__(self) -> None:
        check_types(self)
        path = self.build()
        prediction = check_prediction(self.prediction or path.default_prediction, path)
        if (preconditioning := self.make_preconditioning()) is not None:
            check_preconditioning(preconditioning, prediction, path)
        if not self.sees_source and not path.coupled:
            raise ConfigError(
                f"path.sees_source = False: path '{self.name}' starts from noise, so there is no source to see. Leave "
                "it out, or choose a coupled path."
            )

    def build(self) -> MatchingPath:
        """The path itself."""
        return make_path(self.name, **self.settings)

    def make_preconditioning(self) -> Preconditioning | None:
        """The preconditioning that was asked for, with the path's settings; None: the path's own."""
        return None if self.preconditioning is None else preconditioning_on(self.build(), self.preconditioning)

    def in_full(self) -> PathConfig:
        """The same with all settings that the path has."""
        fields = dataclasses.fields(path_class(self.name))
        defaults = {f.name: f.default for f in fields if isinstance(f.default, bool | int | float | str)}
        return dataclasses.replace(self, settings={**defaults, **self.settings})


@dataclass(frozen=True)
class EvaluateConfig:
    """How finished models are measured."""

    #: Feature space: 'classifier' is trained on the data at hand, 'inception' needs realuid[fid].
    extractor: Literal["classifier", "inception"] = "classifier"
    #: Local copy of torch-fidelity's Inception weights; None downloads them.
    inception_weights: str | None = None
    #: Samples of one measurement.
    samples: int = 10_000
    #: Independent measurements; the mean and the spread are reported.
    seeds: int = 3
    #: Steps of the teacher's sampler.
    steps: int = 50
    #: How a teacher is sampled: ddim, euler, heun, ancestral, dpm_solver, sde, or sde:0.5 (with half of its diffusion).
    #: None: its own way.
    sampler: str | None = None
    #: Scale of classifier-free guidance of a teacher trained with label_dropout; 1 is none.
    guidance: float = 1.0

    def __post_init__(self) -> None:
        check_types(self)
        if self.sampler is not None:
            find_sampler(self.sampler)
        check_range(self, "[5, inf)", "samples")
        check_range(self, "[1, inf)", "seeds", "steps")


@dataclass(frozen=True)
class SweepConfig:
    """Which settings a sweep tries."""

    #: Values of alpha; of a random search: its ends.
    alpha: tuple[float, ...] = (0.92, 0.96, 1.0)
    #: Values of beta / alpha; of a random search: its ends.
    ratio: tuple[float, ...] = (0.96, 0.98, 1.0, 1.02, 1.04)
    #: Values of further settings of `distill`, by name.
    others: dict[str, tuple[float, ...]] = field(default_factory=dict)
    #: Runs of every setting, each with a seed of its own.
    seeds: int = 1
    search: Literal["grid", "random"] = "grid"
    #: Settings that a random search tries.
    trials: int = 20
    #: A trial is stopped whose best quick FD so far is this many times the median of the others at the same update; 0:
    #: none is.
    hopeless: float = 2.0
    #: Share of a trial's updates before which it is never stopped.
    patience: float = 0.25

    def __post_init__(self) -> None:
        check_types(self)
        check_range(self, "[1, inf)", "seeds", "trials")
        check_range(self, "[0, 1]", "patience")
        if self.hopeless and self.hopeless < 1:
            raise ConfigError(f"sweep.hopeless = {self.hopeless}: must be at least 1, or 0 for never.")
        if not self.alpha or not self.ratio:
            raise ConfigError("sweep.alpha and sweep.ratio need at least one value each.")
        allowed = {f.name for f in dataclasses.fields(DistillConfig)} - {"alpha", "beta", "seed"}
        for name in self.others:
            if name not in allowed:
                raise ConfigError(f"sweep.others: {unknown_name('setting', name, allowed)}")


#: What a student may be called: it has a folder of that name beside the teacher's.
_FOLDER = re.compile(r"\w[\w.=+-]*")
#: Keys of a student that are not settings of its distillation.
_START = ("start", "start_ema")


class Origin(NamedTuple):
    """What a fine-tuned student starts from: another student, and which average of its weights (None: its best)."""

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
    #: Students that `realuid demo` makes: name -> what differs from `distill`. With `start: NAME` it is fine-tuned: it
    #: starts from an earlier student's best average (`start_ema`: from the one of that decay), see `fine_tuning`.
    students: dict[str, dict[str, Any]] = field(default_factory=dict)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    sweep: SweepConfig = field(default_factory=SweepConfig)
    #: FIDs that a paper reports for this setting: of 'teacher', of 'distill' and of students by name.
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
        if name not in self.students:
            raise ConfigError(unknown_name(f"student of recipe '{self.name}'", name, self.students))
        changes = decided(renamed({k: v for k, v in self.students[name].items() if k not in _START}))
        allowed = {f.name for f in dataclasses.fields(DistillConfig)}
        for key in changes:
            if key not in allowed:
                raise ConfigError(f"students.{name}: {unknown_name('setting', key, allowed | set(_START))}")
        base = fine_tuning(self.distill) if self.origin(name) else self.distill
        return from_plain(DistillConfig, {**to_dict(base), **changes}, f"students.{name}")

    def origin(self, name: str) -> Origin | None:
        """What a student starts from, or None where it is distilled from scratch."""
        changes = self.students[name]
        if "start" in changes:
            return Origin(str(changes["start"]), changes.get("start_ema"))
        if "start_ema" in changes:
            raise ConfigError(f"students.{name}: start_ema without start. Name the student to start from.")
        return None

    def anchored(self) -> Recipe:
        """The same with absolute paths, to be read back from another working folder."""
        weights, pairs = self.evaluate.inception_weights, self.data.pairs
        pairs = absolute_source(pairs) if pairs and pairs not in DEGRADATIONS else pairs
        return dataclasses.replace(
            self,
            data=dataclasses.replace(self.data, source=absolute_source(self.data.source), pairs=pairs),
            evaluate=dataclasses.replace(self.evaluate, inception_weights=weights and str(Path(weights).resolve())),
        )

    def ancestors(self, name: str) -> list[str]:
        """The students that have to be made before this one, first one first."""
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
        return path.read_text()
    if name_or_path not in recipe_names():
        raise ConfigError(unknown_name("recipe", name_or_path, recipe_names()) + " Or pass a .yaml file.")
    return resources.files("realuid.recipes").joinpath(f"{name_or_path}.yaml").read_text()


def parse_recipe(text: str, where: str) -> Recipe:
    """A recipe from YAML text; `where` is for messages.

    With `base: NAME` it is what differs from another recipe: mappings are joined, null removes what the base says, and
    anything else replaces it.
    """
    values = {name: _in_section(name, section, decided) for name, section in _values(text, where).items()}
    return from_plain(Recipe, values, where)


def _values(text: str, where: str) -> dict[str, Any]:
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"'{where}' is not valid YAML ({' '.join(str(error).split())}).") from error
    if values is None:
        raise ConfigError(f"'{where}' is empty. Write `base: demo` into it, or any recipe's name, and what differs.")
    if not isinstance(values, dict):
        raise ConfigError(f"'{where}' must hold sections ({', '.join(f.name for f in dataclasses.fields(Recipe))}).")
    values = {name: _in_section(name, section, renamed) for name, section in values.items()}
    if (base := values.pop("base", None)) is None:
        return values
    if base == where:
        raise ConfigError(f"'{where}': base is the recipe itself.")
    return _join(_values(_read(str(base)), str(base)), values)


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
