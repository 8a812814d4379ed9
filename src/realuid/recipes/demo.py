"""The demo: a teacher, its students, their evaluation and a report."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from realuid._version import __version__
from realuid.devices import choose_device
from realuid.errors import ConfigError
from realuid.files import write_json
from realuid.locks import held
from realuid.metrics import Evaluator
from realuid.models import MatchingModel, Student, model_device
from realuid.processes import refuse_several
from realuid.recipes.changes import shown_settings
from realuid.recipes.checks import check_demo
from realuid.recipes.config import Recipe
from realuid.recipes.evaluate import evaluate_model, fd_between_halves, fd_of_real, images_per_second, make_evaluator
from realuid.recipes.prompts import Prompts, evaluate_prompts, prompts_of
from realuid.recipes.spec import TeacherSpec, teacher_spec
from realuid.recipes.stages import BESIDE, SECONDS, Stopwatch, make_models
from realuid.reports import write_report
from realuid.training.folder import (
    forget,
    has_checkpoint,
    is_finished,
    is_marked,
    is_run,
    mark,
    refuse_file,
    refuse_foreign,
)

#: Files of a demo's folder: its results.
RESULTS, REPORT = "results.json", "report.html"


def is_demo(folder: Path) -> bool:
    """Whether a folder is a demo's; earlier versions did not mark theirs."""
    noted = (folder / SECONDS).is_file() or (folder / RESULTS).is_file()
    return is_marked(folder, "demo") or (noted and is_run(folder / "teacher"))


def refuse_taken(folder: Path, resume: bool, overwrite: bool) -> None:
    """Raise an error for a folder that holds a demo, unless it is resumed or overwritten, or anything else.

    Raises:
        ConfigError: for a folder that holds a demo, or something that is none.
    """
    refuse_file(folder)
    if resume and overwrite:
        raise ConfigError("--resume and --overwrite: a demo is either continued or replaced. Pass one of them.")
    if resume:
        return
    if not is_demo(folder):
        refuse_foreign(folder, ours=False)
    elif not overwrite and any(has_checkpoint(run) or is_finished(run) for run in folder.iterdir()):
        raise ConfigError(
            f"'{folder}' already holds a demo. Pass --resume to continue it, --overwrite to replace it, or another "
            "--out."
        )


def run_demo(
    recipe: Recipe, folder: Path, say: Callable[[str], None] = print, resume: bool = False, overwrite: bool = False
) -> dict[str, Any]:
    """Train a teacher, distil every student of the recipe, evaluate all of them.

    Args:
        recipe: with at least one entry in `students`.
        folder: for teacher/, one folder for each student, results.json and report.html.
        say: receives messages about the progress.
        resume: continue with the demo in `folder`: finished models are read, an unfinished one is resumed.
        overwrite: replace the demo in `folder`.

    Returns:
        the contents of results.json.

    Raises:
        ConfigError: for a folder that holds a demo, or something that is none.
    """
    refuse_several("a demo", "Start one, or `realuid train` and `realuid distill`, which are divided.")
    if not recipe.students:
        raise ConfigError(
            f"recipe '{recipe.name}' has no students: add at least one, for instance {{uid: {{alpha: 1}}}}."
        )
    refuse_taken(folder, resume, overwrite)
    run = teacher_spec(recipe, folder / "teacher")
    check_demo(recipe, run.model, run.data)
    with held(folder, wait=resume):
        return _run_demo(recipe, run, say, resume)


def _run_demo(recipe: Recipe, run: TeacherSpec, say: Callable[[str], None], resume: bool) -> dict[str, Any]:
    data, folder = run.data, run.folder.parent
    say(f"data: {data.name}, {len(data)} images of shape {data.shape}")
    start, device = time.perf_counter(), choose_device(recipe.distill.device)
    evaluator, asked = make_evaluator(data, recipe.evaluate, device), prompts_of(data, recipe.evaluate)
    if not resume:  # what may fail without a model has not
        mark(folder, "demo")
        for name in (RESULTS, REPORT, BESIDE):
            (folder / name).unlink(missing_ok=True)
        for name in ("teacher", *recipe.students):
            forget(folder / name)
    watch = Stopwatch(folder, resume)

    models = make_models(recipe, run, watch, device, say)
    say("evaluating")
    entries = _evaluate_models(recipe, models, evaluator, watch.seconds, asked)
    results = {
        "recipe": recipe.name,
        "data": data.name,
        **evaluator.describe(),
        "fd_between_halves": fd_between_halves(evaluator),
        "half_size": len(data) // 2,
        "fd_of_real": fd_of_real(evaluator, recipe.evaluate.samples),
        "quick": _quick(recipe, models["teacher"], evaluator),
        **({} if asked is None else {"prompts_measured": len(asked.texts), "held_out_prompts": asked.unseen(data)}),
        "teacher": entries["teacher"],
        "students": [entries[name] for name in recipe.students],
        "seconds": time.perf_counter() - start,
        "threads": torch.get_num_threads(),
        "device": str(model_device(models["teacher"])),
        "torch": torch.__version__,
        "realuid": __version__,
    }
    write_json(folder / RESULTS, results)
    how = recipe.evaluate
    sampling = {"steps": how.steps, "sampler": how.sampler, "guidance": how.guidance}
    write_report(folder, results, models, data, shown_settings(recipe), asked.shown if asked else None, **sampling)
    return results


def _quick(recipe: Recipe, teacher: MatchingModel | Student, evaluator: Evaluator) -> dict[str, float]:
    """FDs of the teacher and of real images from as many samples as quick FDs of students: levels for their curves."""
    count = recipe.distill.quick_samples
    how = dataclasses.replace(recipe.evaluate, samples=count, seeds=1)
    fd = evaluate_model(teacher, evaluator, how, full=False).fd[0]
    return {"samples": count, "teacher": fd, "real": fd_of_real(evaluator, count)}


def _evaluate_models(
    recipe: Recipe,
    models: dict[str, MatchingModel | Student],
    evaluator: Evaluator,
    seconds: dict[str, float],
    asked: Prompts | None,
) -> dict[str, dict[str, Any]]:
    """The entry of every model in results.json, by name.

    Args:
        recipe: of the demo.
        models: by name.
        evaluator: with the data.
        seconds: duration of each training.
        asked: prompts to measure with, if the models read some.
    """
    data = evaluator.data
    rates = images_per_second(models, data, recipe.evaluate)
    return {
        name: {
            "name": name,
            **evaluate_model(model, evaluator, recipe.evaluate).to_dict(),
            **({} if asked is None else {"prompts": evaluate_prompts(model, data, asked, recipe.evaluate)}),
            "images_per_second": rates[name],
            "train_seconds": seconds.get(name, 0.0),
            **_about(recipe, name),
        }
        for name, model in models.items()
    }


def _about(recipe: Recipe, name: str) -> dict[str, Any]:
    """The recipe's entries about a model: settings and start of a student, published FID."""
    about: dict[str, Any] = {}
    if name in recipe.students:
        config = recipe.student(name)
        shown = ("alpha", "beta", "alpha_sid", "objective", "data_weight", "lambda_g", "label")
        about = {setting: getattr(config, setting) for setting in shown} | {"real_data": config.uses_real_data}
        if origin := recipe.origin(name):
            about["start"] = origin.student
    if name in recipe.published:
        about["published_fid"] = recipe.published[name]
    return about
