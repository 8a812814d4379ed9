"""Sweeps: many settings with one teacher.

All state is in the folder: a trial with a result.json is finished, one with a checkpoint is resumed, and a lock that is
released with its process marks a trial in progress.
"""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import shutil
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from realuid._version import __version__
from realuid.data import Dataset
from realuid.devices import tune_process
from realuid.errors import CheckpointError, NonFiniteError
from realuid.files import atomic_file, write_json
from realuid.loaders import load_teacher
from realuid.loaders.check import require_sound
from realuid.locks import claimed
from realuid.metrics import Evaluator
from realuid.models import MatchingModel, fingerprint
from realuid.processes import refuse_several
from realuid.reading import read_json
from realuid.recipes.changes import changes, shown_settings
from realuid.recipes.config import Recipe, dump_recipe
from realuid.recipes.evaluate import evaluate_model, make_evaluator
from realuid.recipes.helpers import end_of, end_soon, print_into
from realuid.recipes.run import SWEEP, TEACHER, recipe_data, teacher_record
from realuid.recipes.sections import SweepConfig
from realuid.recipes.spec import NamedTeacher, StudentSpec, student_spec
from realuid.recipes.trials import Trial, make_trials
from realuid.reports.sweep import write_sweep_report
from realuid.training.accelerate import make_accelerator
from realuid.training.compatibility import check_settings, check_student_run
from realuid.training.folder import CHECKPOINTS, has_checkpoint, is_marked, mark, refuse_foreign
from realuid.training.machine import check_machine
from realuid.training.resuming import check_same
from realuid.training.settings import to_dict

#: The file of a finished trial.
RESULT = "result.json"
#: The file of a sweep with the settings and fingerprints that all of its trials share.
INPUTS = "inputs.json"
#: The mark of its folder.
SWEEP_KIND = "sweep"
#: Evaluations of a trial, each with "update" and "fd".
History = list[dict[str, Any]]
#: A trial is compared only if there are at least this many others.
_OTHERS = 3


def read_results(folder: Path) -> list[dict[str, Any]]:
    """Results of the finished trials of a sweep, in order."""
    return [_read_result(path) for path in sorted(folder.glob(f"trials/*/{RESULT}"))]


def _read_result(path: Path) -> dict[str, Any]:
    try:
        result = json.loads(path.read_text())
        if isinstance(result, dict) and {"settings", "status", "fd", "history", "beta"} <= result.keys():
            return result
    except (ValueError, RecursionError):
        pass
    raise CheckpointError(f"'{path}' is damaged. Delete it, and the trial is made again.")


def is_hopeless(
    history: list[dict[str, Any]], others: list[list[dict[str, Any]]], sweep: SweepConfig, updates: int
) -> bool:
    """Whether a trial's best quick FD so far is too far above the median of the others at the same update."""
    now = history[-1]["update"]
    bests = [min((h["fd"] for h in other if h["update"] <= now), default=None) for other in others if other]
    known = [fd for fd in bests if fd is not None]
    if not sweep.hopeless or len(known) < _OTHERS or now < sweep.patience * updates:
        return False
    return min(h["fd"] for h in history) > sweep.hopeless * statistics.median(known)


def is_sweep(folder: Path) -> bool:
    """Whether a folder is a sweep's; earlier versions did not mark theirs."""
    return is_marked(folder, SWEEP_KIND) or ((folder / SWEEP).is_file() and (folder / "trials").is_dir())


def run_sweep(
    recipe: Recipe,
    teacher: str | Path,
    folder: Path,
    processes: int = 1,
    say: Callable = print,
    trust_teacher: bool = True,
) -> dict[str, Any]:
    """Run the unfinished trials of a sweep.

    Args:
        recipe: `sweep` has the varied settings, `distill` all others.
        teacher: anything `load_teacher` reads.
        folder: of the sweep: sweep.yaml, teacher.txt, trials/, results.json and sweep.html.
        processes: number of trials in parallel.
        say: receives messages about the progress.
        trust_teacher: continue even if the teacher denoises the data worse than a linear denoiser.

    Returns:
        the contents of results.json.

    Raises:
        ConfigError: for a folder that holds something else, or several processes that were started together.
        CheckpointError: for such a teacher, or other settings, data or another teacher than the sweep was begun with.
    """
    refuse_several("a sweep", "Start one, with --processes for several trials at a time.")
    trials, refused = make_trials(recipe.sweep, recipe.distill)
    for reason in refused:
        say(f"left out: {reason}")
    refuse_foreign(folder, is_sweep(folder))
    data, named = _load(recipe, teacher)
    for trial in trials:
        check_settings(named.model, data, trial.config(recipe.distill), f"trial {trial.name}")
    if not trust_teacher:
        require_sound(named.model, data)
    mark(folder, SWEEP_KIND)
    (folder / "trials").mkdir(parents=True, exist_ok=True)
    _keep_to_inputs(recipe, named.model, data, folder)
    for name, text in ((SWEEP, dump_recipe(recipe)), (TEACHER, teacher_record(str(teacher)))):
        with atomic_file(folder / name) as temporary:
            temporary.write_text(text)
    say(f"{len(trials)} trials, {len(read_results(folder))} of them finished")
    context = multiprocessing.get_context("spawn")
    arguments = (recipe, teacher, folder, os.getpid(), max(1, torch.get_num_threads() // processes))
    numbers = range(1, processes)
    helpers = [context.Process(target=_helper, args=(*arguments, i), name=f"process {i}") for i in numbers]
    for helper in helpers:
        helper.start()
    try:
        _work(recipe, named, data, folder, say)
        if failed := end_of(helpers, say):
            told = f"{len(failed)} of {processes} processes ended early (see '{folder / 'process-*.log'}')"
            say(f"{told}: what they had begun is continued here")
            _work(recipe, named, data, folder, say)
    except KeyboardInterrupt:
        end_soon(helpers)
        raise
    if others := len(trials) - len(read_results(folder)):
        say(f"{others} trials are in the hands of another process, and not among these results")
    return write_results(recipe, teacher, folder)


def _keep_to_inputs(recipe: Recipe, teacher: MatchingModel, data: Dataset, folder: Path) -> None:
    """Note with what a sweep is begun; raise CheckpointError where that was something else."""
    inputs = {"data": data.fingerprint(pairs=True), "teacher": fingerprint(teacher)}
    inputs["evaluate"] = str(changes(recipe.anchored(), ["evaluate"]))
    if (folder / INPUTS).is_file():
        check_same(recipe.distill, inputs, read_json(folder / INPUTS, finite=False), folder)  # type: ignore[arg-type]
        return
    with atomic_file(folder / INPUTS) as temporary:  # missing in a new sweep, and in those of earlier versions
        temporary.write_text(json.dumps({"settings": to_dict(recipe.distill) | inputs, "version": __version__}) + "\n")


def _helper(recipe: Recipe, teacher: str | Path, folder: Path, parent: int, threads: int, number: int) -> None:
    """An additional process; it starts no new trial after its parent has ended."""
    tune_process()
    torch.set_num_threads(threads)
    print_into(folder / f"process-{number}.log")
    data, named = _load(recipe, teacher)
    _work(recipe, named, data, folder, print, lambda: os.getppid() == parent)


def _load(recipe: Recipe, teacher: str | Path) -> tuple[Dataset, NamedTeacher]:
    """Data and teacher, checked against each other and the settings."""
    model = load_teacher(teacher)
    data = recipe_data(recipe, model)
    check_student_run(model, data, recipe.distill)
    check_machine(recipe.distill, make_accelerator(recipe.distill).device)
    return data, NamedTeacher(model, str(teacher))


def _work(
    recipe: Recipe,
    teacher: NamedTeacher,
    data: Dataset,
    folder: Path,
    say: Callable,
    go_on: Callable[[], bool] = lambda: True,
) -> None:
    evaluator = make_evaluator(data, recipe.evaluate, make_accelerator(recipe.distill).device)
    for trial in make_trials(recipe.sweep, recipe.distill)[0]:
        run = folder / "trials" / trial.name
        with claimed(run.with_name(f".{trial.name}.lock")) as mine:
            if mine and (run / RESULT).is_file():
                _forget_checkpoints(run)  # a killed process may have left them
            if not mine or (run / RESULT).is_file() or not go_on():
                continue
            spec = student_spec(_of_trial(recipe, trial), teacher, run, data=data, evaluator=evaluator)
            result = _run_trial(trial, spec, evaluator)
            say(f"{trial.name}: {result['status']}, FD {result['fd']}")
        write_results(recipe, teacher.name, folder)


def _of_trial(recipe: Recipe, trial: Trial) -> Recipe:
    return dataclasses.replace(recipe, distill=trial.config(recipe.distill), students={})


def _run_trial(trial: Trial, spec: StudentSpec, evaluator: Evaluator) -> dict[str, Any]:
    recipe, config, run, start = spec.recipe, spec.recipe.distill, spec.folder, time.perf_counter()
    history: History = []
    verdict = {"status": "finished"}

    def hopeless(so_far: History) -> bool:
        others = [result["history"] for result in read_results(run.parents[1])]
        stop = is_hopeless(so_far, others, recipe.sweep, config.updates)
        verdict["status"] = "stopped" if stop else "finished"
        return stop

    result: dict[str, Any] = {"name": trial.name, "settings": trial.settings, "beta": config.beta}
    try:
        student = spec.run(resume=has_checkpoint(run), hopeless=hopeless)
        history = json.loads((run / "history.json").read_text())
        result |= verdict | {"fd": min(h["fd"] for h in history)}
        if verdict["status"] == "finished":
            fds = evaluate_model(student, evaluator, recipe.evaluate, full=False).fd
            result |= {"fd": statistics.mean(fds), "measured": fds}
    except NonFiniteError as error:
        result |= {"status": "failed", "fd": None, "reason": str(error)}
    result |= {"history": [{"update": h["update"], "fd": h["fd"]} for h in history]}
    write_json(run / RESULT, result | {"seconds": time.perf_counter() - start})
    _forget_checkpoints(run)
    return result


def _forget_checkpoints(run: Path) -> None:
    """A finished trial needs none."""
    shutil.rmtree(run / CHECKPOINTS, ignore_errors=True)


def write_results(recipe: Recipe, teacher: str | Path, folder: Path) -> dict[str, Any]:
    """Write results.json and sweep.html from the finished trials: settings from worst to best, seeds averaged."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for result in read_results(folder):
        key = json.dumps({k: v for k, v in result["settings"].items() if k != "seed"})
        groups.setdefault(key, []).append(result)
    rows = []
    for key, results in groups.items():
        whole = [r["fd"] for r in results if r["status"] == "finished"]
        rows.append(
            {
                "settings": json.loads(key),
                "beta": results[0]["beta"],
                "fd_mean": statistics.mean(whole) if whole else None,
                "fd_std": statistics.stdev(whole) if len(whole) > 1 else None,
                "finished": len(whole),
                "trials": len(results),
                "status": [r["status"] for r in results],
            }
        )
    rows.sort(key=lambda row: -row["fd_mean"] if row["fd_mean"] is not None else float("-inf"))
    total = len(make_trials(recipe.sweep, recipe.distill)[0])
    about = {"recipe": recipe.name, "objective": recipe.distill.objective, "teacher": str(teacher)}
    summary = {**about, "trials": total, "settings": rows}
    write_json(folder / "results.json", summary)
    write_sweep_report(folder, summary, read_results(folder), shown_settings(recipe))
    return summary
