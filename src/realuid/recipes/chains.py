"""Students that start from one another: each is read if its run is finished, resumed or trained."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from realuid.data import Dataset
from realuid.loaders import load_generator
from realuid.models import Student
from realuid.recipes.config import Recipe
from realuid.recipes.run import RECIPE, recipe_of_run
from realuid.recipes.spec import NamedTeacher, StudentSpec, student_spec
from realuid.training.folder import has_checkpoint, is_finished
from realuid.training.start import load_start


def make_student(recipe: Recipe, name: str, teacher: NamedTeacher, folder: Path, data: Dataset) -> Student:
    """Train one of the recipe's students in `folder / name`, after the students it starts from.

    A finished run is read; it is resumed if it is unfinished, or more updates are asked for.

    Args:
        recipe, name: which student.
        teacher: the teacher.
        folder: of all students of the recipe.
        data: the recipe's.

    Raises:
        CheckpointError: for a run that was started with other settings, data or another teacher.
    """
    origin, run = recipe.origin(name), folder / name
    deleted = origin and not is_finished(folder / origin.student)
    if is_finished(run) and (deleted or not has_checkpoint(run)):  # nothing to compare it with
        return load_generator(run)
    if origin:
        make_student(recipe, origin.student, teacher, folder, data)
    spec = _spec(recipe, name, teacher, folder, data)
    return load_generator(run) if spec.is_done() else spec.run(resume=has_checkpoint(run))


def _spec(recipe: Recipe, name: str, teacher: NamedTeacher, folder: Path, data: Dataset) -> StudentSpec:
    """The distillation of one of the recipe's students in `folder / name`; the student it starts from must exist."""
    origin, about = recipe.origin(name), dict[str, Any]()
    if origin:
        about["start"] = {"student": str(folder / origin.student), "ema": origin.ema or "best"}
    if name in recipe.published:
        about["published_fid"] = recipe.published[name]
    start = load_start(folder / origin.student, origin.ema) if origin else None
    config = recipe.student(name)
    if (folder / name / RECIPE).is_file():  # its run may have been made longer
        config = dataclasses.replace(config, updates=max(config.updates, recipe_of_run(folder / name).distill.updates))
    chosen = dataclasses.replace(recipe, distill=config, students={})
    return student_spec(chosen, teacher, folder / name, data=data, start=start, about=about)
