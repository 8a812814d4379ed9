"""A recipe: everything a teacher and its students need, typed, complete, saved with the run."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import dacite
import yaml

from realuid.data import Dataset, load_dataset
from realuid.errors import ConfigError, unknown_name
from realuid.models import NetworkConfig, make_preconditioning
from realuid.paths import Path as MatchingPath
from realuid.paths import make_path
from realuid.sampling import SAMPLERS
from realuid.training import DistillConfig, TeacherConfig
from realuid.training.config import to_dict


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

    def load(self) -> Dataset:
        """The data itself."""
        return load_dataset(self.source, self.channels, self.resolution, self.pairs)


@dataclass(frozen=True)
class PathConfig:
    """The matching model's path."""

    name: str = "linear"
    #: What the network predicts. None: the path's own choice.
    prediction: str | None = None
    #: The path's own settings, for instance a noise level.
    settings: dict[str, bool | float | str] = field(default_factory=dict)
    #: Scales around the network: plain (none), edm, vp or ve.
    preconditioning: str = "plain"
    #: Whether networks are given x_T where the path is coupled, so that they keep pairs together.
    sees_source: bool = True

    def __post_init__(self) -> None:
        self.build()
        make_preconditioning(self.preconditioning)

    def build(self) -> MatchingPath:
        """The path itself."""
        return make_path(self.name, **self.settings)


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
    #: How a teacher is sampled. None: its own way.
    sampler: str | None = None
    #: Scale of classifier-free guidance of a teacher trained with label_dropout; 1 is none.
    guidance: float = 1.0

    def __post_init__(self) -> None:
        if self.sampler is not None and self.sampler not in SAMPLERS:
            raise ConfigError(unknown_name("sampler", self.sampler, SAMPLERS))
        for name in ("samples", "seeds", "steps"):
            if getattr(self, name) < 1:
                raise ConfigError(f"evaluate.{name} = {getattr(self, name)}: must be at least 1.")


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
    #: Students that `realuid demo` makes: name -> what differs from `distill`.
    students: dict[str, dict[str, Any]] = field(default_factory=dict)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)

    def __post_init__(self) -> None:
        for name in self.students:
            self.student(name)

    def student(self, name: str) -> DistillConfig:
        """The distillation settings of one of the students."""
        changes = self.students[name]
        allowed = {f.name for f in dataclasses.fields(DistillConfig)}
        for key in changes:
            if key not in allowed:
                raise ConfigError(f"students.{name}: {unknown_name('setting', key, allowed)}")
        return dataclasses.replace(self.distill, **_tuples(changes))


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}


def recipe_names() -> list[str]:
    """Names of the recipes that come with realuid."""
    folder = resources.files("realuid.recipes")
    return sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml"))


def load_recipe(name_or_path: str) -> Recipe:
    """A recipe by name, or from a YAML file.

    Raises:
        ConfigError: for an unknown name, a missing file, bad YAML, an unknown key or a value of the wrong type.
    """
    path = Path(name_or_path)
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise ConfigError(f"no recipe file at '{name_or_path}'.")
        return parse_recipe(path.read_text(), name_or_path)
    if name_or_path not in recipe_names():
        raise ConfigError(unknown_name("recipe", name_or_path, recipe_names()) + " Or pass a .yaml file.")
    return parse_recipe(resources.files("realuid.recipes").joinpath(f"{name_or_path}.yaml").read_text(), name_or_path)


def parse_recipe(text: str, where: str) -> Recipe:
    """A recipe from YAML text; `where` is for messages."""
    try:
        values = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise ConfigError(f"'{where}' is not valid YAML ({' '.join(str(error).split())}).") from error
    if not isinstance(values, dict):
        raise ConfigError(f"'{where}' must hold sections ({', '.join(f.name for f in dataclasses.fields(Recipe))}).")
    _check_keys(values, Recipe, where)
    try:
        return dacite.from_dict(Recipe, values, dacite.Config(type_hooks={float: _number}, cast=[tuple]))
    except dacite.DaciteError as error:
        raise ConfigError(f"'{where}': {error}.") from error


def _number(value: Any) -> Any:
    """What YAML reads as a text or an integer but is a number all the same, such as 1e-3; anything else unchanged."""
    try:
        return float(value) if isinstance(value, int | str) and not isinstance(value, bool) else value
    except ValueError:
        return value


def _check_keys(values: dict, cls: type, where: str, prefix: str = "") -> None:
    """Refuse keys that no dataclass has, naming the nearest one that exists."""
    fields = {f.name: f for f in dataclasses.fields(cls)}
    for key, value in values.items():
        if key not in fields:
            raise ConfigError(f"'{where}': {unknown_name('key', f'{prefix}{key}', [prefix + f for f in fields])}")
        default = fields[key].default_factory
        if dataclasses.is_dataclass(default) and isinstance(value, dict):
            _check_keys(value, default, where, f"{prefix}{key}.")  # type: ignore[arg-type]


def dump_recipe(recipe: Recipe) -> str:
    """A recipe as YAML, complete; `parse_recipe` reads it back."""
    return yaml.safe_dump(to_dict(recipe), sort_keys=False, default_flow_style=None, width=120)
