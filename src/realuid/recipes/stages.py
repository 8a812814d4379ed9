"""The stages of a demo: its models, made one after another or side by side, and how long each took."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch

from realuid.files import write_json
from realuid.loaders import load_teacher
from realuid.metrics import classifier, tells_classes
from realuid.models import MatchingModel, Student
from realuid.recipes.chains import make_student
from realuid.recipes.config import Recipe
from realuid.recipes.helpers import Work, beside
from realuid.recipes.prompts import prompts_of
from realuid.recipes.run import recipe_data
from realuid.recipes.spec import NamedTeacher, TeacherSpec
from realuid.training.folder import has_checkpoint, is_finished

#: Files of a demo's folder: the duration of each stage, and what a process beside the demo's own printed.
SECONDS, BESIDE = "seconds.json", "beside.log"


class DamagedTimesWarning(UserWarning):
    """The file with durations of a demo's stages is damaged."""


class Stopwatch:
    """Durations of the stages of a demo, in a file of its folder; a resumed stage adds to its duration.

    Args:
        folder: of the demo.
        resume: add to the durations in the file.
    """

    def __init__(self, folder: Path, resume: bool):
        self.file = folder / SECONDS
        if not resume:
            self.file.unlink(missing_ok=True)
        self.seconds = self._read()

    def _read(self) -> dict[str, float]:
        """Durations in the file; empty, with a warning, if it is damaged."""
        if not self.file.is_file():
            return {}
        try:
            return {str(name): float(seconds) for name, seconds in dict(json.loads(self.file.read_text())).items()}
        except (ValueError, TypeError, RecursionError):
            warnings.warn(
                f"'{self.file}' is damaged: stages are timed from here on.", DamagedTimesWarning, stacklevel=2
            )
            self.file.unlink()
            return {}

    @contextmanager
    def stage(self, run: Path) -> Iterator[None]:
        """Add the duration of a `with` block to a model's run, even if it fails; not if the run was finished before."""
        finished, began, before = is_finished(run), time.perf_counter(), self._read().get(run.name, 0.0)
        try:
            yield
        finally:
            seconds = before if finished else before + time.perf_counter() - began
            self.seconds = self._read() | {run.name: seconds}  # another process may have added to the file
            write_json(self.file, self.seconds)


def make_models(
    recipe: Recipe, run: TeacherSpec, watch: Stopwatch, device: torch.device, say: Callable[[str], None]
) -> dict[str, MatchingModel | Student]:
    """The teacher and every student of a demo, by name: read if finished, else resumed or trained.

    Args:
        recipe: with students. If they are made `side_by_side`, a second process makes every other one and, beside the
            teacher, what models are measured with; on CPUs of more than one thread.
        run: the teacher's, in the demo's folder.
        watch: of the demo.
        device: of the models.
        say: receives messages.
    """
    folder = run.folder.parent
    two = recipe.side_by_side and device.type == "cpu" and torch.get_num_threads() > 1

    def also(needed: bool, work: Work, *arguments: Any) -> AbstractContextManager[None]:
        return beside(folder / BESIDE, say, work, *arguments) if two and needed else nullcontext()

    with also(not is_finished(run.folder), make_measures, recipe), watch.stage(run.folder):
        teacher = _teacher(run).to(device)
    models: dict[str, MatchingModel | Student] = {"teacher": teacher}

    def make(name: str) -> Student:
        with watch.stage(folder / name):
            return make_student(recipe, name, NamedTeacher(teacher, str(run.folder)), folder, run.data).to(device)

    apart = _independent(recipe, folder)
    with also(len(apart) > 1, make_apart, recipe, folder, apart[::2]):
        for name in apart[1::2] if two else ():
            make(name)
    return models | {name: make(name) for name in recipe.students}


def _teacher(run: TeacherSpec) -> MatchingModel:
    """The teacher of a run: read, resumed or trained."""
    return load_teacher(run.folder) if run.is_done() else run.run(resume=has_checkpoint(run.folder))


def _independent(recipe: Recipe, folder: Path) -> list[str]:
    """Students that are not finished, start from no other, and from which no other starts."""
    origins = {name: recipe.origin(name) for name in recipe.students}
    others = {origin.student for origin in origins.values() if origin}
    return [n for n, origin in origins.items() if not origin and n not in others and not is_finished(folder / n)]


def make_measures(recipe: Recipe) -> None:
    """Train what the finished models of a recipe are measured with, and leave it in the cache."""
    data = recipe_data(recipe)
    prompts_of(data, recipe.evaluate)
    if data.is_image and tells_classes(data):
        classifier(data, seed=1)  # the one that tells what samples show


def make_apart(recipe: Recipe, folder: Path, names: list[str]) -> None:
    """Train students of a demo whose teacher is finished.

    Args:
        recipe: of the demo.
        folder: of the demo.
        names: of the students.
    """
    data, place = recipe_data(recipe), folder / "teacher"
    teacher, watch = NamedTeacher(load_teacher(place), str(place)), Stopwatch(folder, resume=True)
    for name in names:
        with watch.stage(folder / name):
            make_student(recipe, name, teacher, folder, data)
