"""The whole story: a teacher, its students, their measurements and a report."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from realuid._version import __version__
from realuid.data import Dataset
from realuid.devices import choose_device
from realuid.errors import ConfigError
from realuid.files import write_json
from realuid.models import Generator, MatchingModel, model_device
from realuid.recipes.config import Recipe, dump_recipe
from realuid.recipes.measure import fd_between_halves, images_per_second, make_evaluator, measure
from realuid.recipes.plan import check_demo
from realuid.recipes.run import (
    has_checkpoint,
    is_finished,
    new_teacher,
    recipe_data,
    refuse_file,
    run_named_student,
    run_teacher,
)
from realuid.reports import write_report
from realuid.teachers import load_teacher

#: The file of a demo's folder that says how long each stage took.
SECONDS = "seconds.json"


def run_demo(recipe: Recipe, folder: Path, say: Callable[[str], None] = print, resume: bool = False) -> dict[str, Any]:
    """Train a teacher, distil every student of the recipe, measure all of them.

    Args:
        recipe: with at least one entry in `students`.
        folder: gets teacher/, one folder a student, results.json and report.html.
        say: told what happens.
        resume: go on with the demo in `folder`: finished models are read, an unfinished one is resumed.

    Returns:
        what results.json holds.
    """
    if not recipe.students:
        raise ConfigError(
            f"recipe '{recipe.name}' has no students: add at least one, for instance {{uid: {{alpha: 1}}}}."
        )
    refuse_file(folder)
    data = recipe_data(recipe)
    check_demo(recipe, new_teacher(recipe, data), data)
    say(f"data: {data.name}, {len(data)} images of shape {data.shape}")
    start = time.perf_counter()
    models: dict[str, MatchingModel | Generator] = {}
    seconds: dict[str, float] = {}
    if not resume:
        for name in ("teacher", *recipe.students):
            _forget(folder / name)
    elif (folder / SECONDS).is_file():
        seconds = json.loads((folder / SECONDS).read_text())

    def timed(name: str, work: Callable[[], MatchingModel | Generator]) -> None:
        finished, began, before = is_finished(folder / name), time.perf_counter(), seconds.get(name, 0.0)
        try:
            models[name] = work().to(device)
        finally:
            seconds[name] = before if finished else before + time.perf_counter() - began
            write_json(folder / SECONDS, seconds)

    device = choose_device(recipe.distill.device)
    evaluator = make_evaluator(data, recipe.evaluate, device)
    run = folder / "teacher"
    timed("teacher", lambda: _teacher(recipe, run, data))
    teacher = models["teacher"]
    assert isinstance(teacher, MatchingModel)
    for name in recipe.students:
        student = partial(run_named_student, recipe, name, teacher, folder, chain=True, data=data)
        timed(name, partial(student, teacher_name=str(run)))
    say("measuring")
    rates = images_per_second(models, data, recipe.evaluate)
    entries = {
        name: {
            "name": name,
            **measure(model, evaluator, recipe.evaluate).to_dict(),
            "images_per_second": rates[name],
            "train_seconds": seconds[name],
        }
        for name, model in models.items()
    }
    for name in recipe.students:
        config = recipe.student(name)
        entries[name] |= {"alpha": config.alpha, "beta": config.beta, "alpha_sid": config.alpha_sid}
        entries[name] |= {"objective": config.objective, "lambda_g": config.lambda_g}
        if origin := recipe.origin(name):
            entries[name]["start"] = origin.student
    for name in recipe.published.keys() & entries.keys():
        entries[name]["published_fid"] = recipe.published[name]
    results = {
        "recipe": recipe.name,
        "data": data.name,
        "extractor": evaluator.extractor.key,
        "fd_between_halves": fd_between_halves(evaluator),
        "teacher": entries["teacher"],
        "students": [entries[name] for name in recipe.students],
        "seconds": time.perf_counter() - start,
        "threads": torch.get_num_threads(),
        "device": str(model_device(teacher)),
        "torch": torch.__version__,
        "realuid": __version__,
    }
    write_json(folder / "results.json", results)
    how = recipe.evaluate
    write_report(folder, results, models, data, dump_recipe(recipe), how.steps, how.sampler, how.guidance)
    return results


def _forget(run: Path) -> None:
    """Remove what would make a folder's run look finished, or begun."""
    for name in ("model", "checkpoints"):
        shutil.rmtree(run / name, ignore_errors=True)


def _teacher(recipe: Recipe, run: Path, data: Dataset) -> MatchingModel:
    """The teacher of a run: read, resumed or trained."""
    return load_teacher(run) if is_finished(run) else run_teacher(recipe, run, resume=has_checkpoint(run), data=data)
