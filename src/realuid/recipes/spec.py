"""Resolved runs: model, data, settings, start and folder are read and checked once; `run` executes them.

Commands, Python calls, demos and sweeps create them from recipes.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from realuid.data import Dataset
from realuid.errors import ConfigError
from realuid.loaders import load_teacher
from realuid.metrics import Evaluator
from realuid.models import MatchingModel, Silent, Student, fresh, silent
from realuid.recipes.config import Recipe, dump_recipe
from realuid.recipes.evaluate import make_evaluator
from realuid.recipes.pages import with_page
from realuid.recipes.run import RECIPE, TEACHER, learning_copy, new_teacher, recipe_data, teacher_record
from realuid.seeds import mix
from realuid.training.accelerate import make_accelerator
from realuid.training.compatibility import check_batch, check_student_run, check_teacher_run
from realuid.training.config import LoopConfig
from realuid.training.distill import distillation_task
from realuid.training.folder import CHECKPOINTS, has_checkpoint, is_finished
from realuid.training.loop import Run
from realuid.training.resuming import has_more
from realuid.training.settings import to_dict
from realuid.training.task import Callback, Hopeless
from realuid.training.teacher import TeacherTask

#: Instead of a teacher's name: no teacher, the student learns from data alone (experimental).
NO_TEACHER = "none"


@dataclass(frozen=True)
class NamedTeacher:
    """A teacher and its location.

    Attributes:
        model: loaded.
        name: what it was loaded from: a folder, a file, a Hub id; "" if it was created in Python.
        key: which of the weights there; None: the only ones.
    """

    model: MatchingModel
    name: str = ""
    key: str | None = None

    @property
    def about(self) -> dict[str, str]:
        """For the config.json of its students."""
        return {"teacher": self.name, **({} if self.key is None else {"teacher_key": self.key})}


def named_teacher(
    name: str, recipe: Recipe, *, place: str = "", key: str | None = None, data: Dataset | None = None
) -> NamedTeacher:
    """Load a teacher; for 'none' it is a model that returns 0, with the form of the recipe's network.

    Args:
        name: as given by the user.
        recipe: with the data and the network of a student without a teacher.
        place: its location, if it differs from `name`.
        key: which of the weights there.
        data: the recipe's, if already loaded.
    """
    if name != NO_TEACHER:
        return NamedTeacher(load_teacher(place or name, key=key), name, key)
    if key is not None:
        raise ConfigError(f"key = {key} with teacher = none: there are no weights to choose from. Leave key out.")
    return NamedTeacher(silent(new_teacher(recipe, data or recipe_data(recipe))), name)


@dataclass(frozen=True, kw_only=True)
class RunSpec(ABC):
    """Base of resolved runs.

    Attributes:
        recipe: the resolved recipe, with which the run is resumed.
        data: the recipe's.
        folder: of the run.
        evaluator: for quick FDs; None: created from the recipe when needed.
        about: further sections of the saved model's config.json.
        callbacks: called after every line of the log.
    """

    recipe: Recipe
    data: Dataset
    folder: Path
    evaluator: Evaluator | None = None
    about: dict[str, Any] = field(default_factory=dict)
    callbacks: Sequence[Callback] = ()

    @property
    @abstractmethod
    def config(self) -> LoopConfig:
        """The settings of the run."""

    @abstractmethod
    def inputs(self) -> Mapping[str, object]:
        """What it is made of, see `Task.inputs`."""

    def is_done(self) -> bool:
        """Whether the folder holds the result of these settings: it is finished, and no run is to be resumed.

        Raises:
            CheckpointError: where it is the result of others.
        """
        if not is_finished(self.folder) or not has_checkpoint(self.folder):
            return is_finished(self.folder)
        return not has_more(self.folder / CHECKPOINTS, self.config, self.inputs())

    def due_evaluator(self) -> Evaluator | None:
        """The evaluator, if these settings evaluate during training."""
        if not self.config.evaluate_every:
            return None
        device = make_accelerator(self.config).device
        return self.evaluator or make_evaluator(self.data, self.recipe.evaluate, device)


@dataclass(frozen=True, kw_only=True)
class TeacherSpec(RunSpec):
    """The training of a teacher.

    Attributes:
        model: with its initial weights.
        start: the teacher whose training is continued; None: random weights.

    Raises:
        ConfigError, DataError: where model, data and settings do not fit together.
    """

    model: MatchingModel
    start: NamedTeacher | None = None

    def __post_init__(self) -> None:
        check_teacher_run(self.model, self.data, self.recipe.teacher)

    @property
    def config(self) -> LoopConfig:
        return self.recipe.teacher

    def inputs(self) -> Mapping[str, object]:
        return TeacherTask(self.model, self.data, self.recipe.teacher, make_accelerator(self.config)).inputs

    def run(self, resume: bool = False) -> MatchingModel:
        """Train it, or continue with the run in the folder."""
        evaluator, config = self.due_evaluator(), self.recipe.teacher
        accelerator = make_accelerator(config)
        task = TeacherTask(self.model, self.data, config, accelerator)
        origin = {TEACHER: teacher_record(self.start.name, self.start.key)} if self.start else {}
        files = {RECIPE: dump_recipe(self.recipe.anchored()), **origin}
        run = Run(task, config, self.folder, accelerator, evaluator, self.about, files)
        run.callbacks = self.callbacks
        trained = with_page(run).start(resume)
        assert isinstance(trained, MatchingModel)
        return trained


@dataclass(frozen=True, kw_only=True)
class StudentSpec(RunSpec):
    """The distillation of a teacher, by the recipe's section `distill`.

    Attributes:
        teacher: the teacher.
        start: a distilled student to continue from, or the model of a new one; None: the teacher.
        fake: initial fake model; None: as the settings say.

    Raises:
        ConfigError, DataError, PredictionError: where teacher, data, settings and starts do not fit together.
    """

    teacher: NamedTeacher
    start: Student | MatchingModel | None = None
    fake: MatchingModel | None = None

    def __post_init__(self) -> None:
        check_student_run(self.teacher.model, self.data, self.recipe.distill, self.start, self.fake)

    @property
    def config(self) -> LoopConfig:
        return self.recipe.distill

    def inputs(self) -> Mapping[str, object]:
        return distillation_task(self.teacher.model, self.data, self.recipe.distill, self.start, self.fake)[0].inputs

    @property
    def learner(self) -> MatchingModel:
        """The model with the student's network: its start, or the teacher."""
        return self.start.model if isinstance(self.start, Student) else self.start or self.teacher.model

    def run(self, resume: bool = False, hopeless: Hopeless | None = None) -> Student:
        """Distil it, or continue with the run in the folder.

        Args:
            resume: continue.
            hopeless: stops the run early if it returns True for the evaluations so far.
        """
        evaluator, config = self.due_evaluator(), self.recipe.distill
        task, accelerator = distillation_task(self.teacher.model, self.data, config, self.start, self.fake)
        files = {RECIPE: dump_recipe(self.recipe.anchored())}
        files[TEACHER] = teacher_record(self.teacher.name, self.teacher.key)
        run = Run(task, config, self.folder, accelerator, evaluator, self.about, files, hopeless)
        run.callbacks = self.callbacks
        student = with_page(run).start(resume)
        assert isinstance(student, Student)
        return student


def teacher_spec(
    recipe: Recipe, folder: Path, data: Dataset | None = None, start: NamedTeacher | None = None
) -> TeacherSpec:
    """The training of the recipe's teacher, or the further training of another one.

    Args:
        recipe: data, settings, and network and path of a new teacher.
        folder: of the run.
        data: the recipe's, if already loaded.
        start: the teacher whose training is continued; it is not changed.
    """
    data = data or recipe_data(recipe, start.model if start else None)
    check_batch(recipe.teacher.batch, data)  # the most informative error for too little data comes first
    model = learning_copy(start.model, data) if start else new_teacher(recipe, data)
    about: dict[str, Any] = {"data": to_dict(recipe.data), **({"start": start.about} if start else {})}
    if "teacher" in recipe.published and not start:
        about["published_fid"] = recipe.published["teacher"]
    return TeacherSpec(recipe=recipe, data=data, folder=folder, about=about, model=model, start=start)


def student_spec(
    recipe: Recipe,
    teacher: NamedTeacher,
    folder: Path,
    *,
    data: Dataset | None = None,
    start: Student | MatchingModel | None = None,
    fake: MatchingModel | None = None,
    evaluator: Evaluator | None = None,
    about: dict[str, Any] | None = None,
) -> StudentSpec:
    """The distillation of a teacher by the recipe's section `distill`; the recipe's students are ignored.

    Args:
        recipe: data, distillation and evaluation.
        teacher: the teacher.
        folder: of the run.
        data, evaluator: if already loaded.
        start, fake: see `StudentSpec`; without a teacher they are networks of the recipe with random weights.
        about: further sections of config.json.
    """
    config, data = recipe.distill, data or recipe_data(recipe, teacher.model)
    if config.guidance is None:  # so that the saved settings say what is done
        config = dataclasses.replace(config, guidance=teacher.model.network.usual_guidance or 1.0)
    if isinstance(teacher.model.network, Silent):
        start = start or new_teacher(recipe, data)
        like = start.model if isinstance(start, Student) else start
        fake = fake or fresh(like, mix(config.seed, "fake start"))
        if isinstance(start, Student):  # `fine_tuning` starts the fake model from the teacher
            config = dataclasses.replace(config, fake_start="random")
    if isinstance(start, Student):  # so that the saved settings suffice to resume
        config = config.of_student(start)
    return StudentSpec(
        recipe=dataclasses.replace(recipe, distill=config, students={}),
        data=data,
        folder=folder,
        evaluator=evaluator,
        about={"data": to_dict(recipe.data), **teacher.about, **(about or {})},
        teacher=teacher,
        start=start,
        fake=fake,
    )
