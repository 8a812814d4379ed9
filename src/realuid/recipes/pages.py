"""Pages of runs, written from their folders: of one run as it grows, of a demo in progress, of several side by side."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Sequence
from pathlib import Path

from realuid.errors import CheckpointError, RealUIDError
from realuid.files import check_writable
from realuid.recipes.changes import changes, shown_settings
from realuid.recipes.config import Recipe
from realuid.recipes.run import RECIPE, TEACHER, recipe_of_run
from realuid.reports.run import RunView, write_comparison, write_run_page
from realuid.training.folder import METRICS, REPORT, is_marked, is_run
from realuid.training.loop import Run

#: Sections of a recipe that settle a teacher, and a student.
_OF_TEACHER, _OF_STUDENT = ("data", "network", "path", "teacher"), ("data", "distill")


class PageWarning(UserWarning):
    """The page of a run could not be written; the run goes on."""


def view_run(folder: Path) -> RunView:
    """What the files of a run say.

    Raises:
        CheckpointError: for a folder that is no run's, or has no recipe.
    """
    recipe = _recipe(folder)
    return RunView.read(folder, _updates(folder, recipe), shown_settings(recipe, _sections(folder)))


def _recipe(folder: Path) -> Recipe:
    if not is_run(folder):
        raise CheckpointError(f"'{folder}' is no run: pass folders that `realuid train` or `realuid distill` wrote.")
    return recipe_of_run(folder)


def _is_student(folder: Path) -> bool:
    """Whether a run is a distillation: its log has a fake model; before the first line, it records a teacher."""
    with contextlib.suppress(OSError), (folder / METRICS).open(errors="replace") as file:
        if first := file.readline():
            return '"fake/loss"' in first or '"health/lag"' in first
    return (folder / TEACHER).is_file()


def _sections(folder: Path) -> Sequence[str]:
    return _OF_STUDENT if _is_student(folder) else _OF_TEACHER


def _updates(folder: Path, recipe: Recipe) -> int:
    return (recipe.distill if _is_student(folder) else recipe.teacher).updates


def grow_page(folder: Path) -> None:
    """Write the page of a run as it stands, and that of the demo in progress that it belongs to, if any.

    What keeps a page from being written is a warning: a run does not end for it.
    """
    try:
        write_run_page(view_run(folder))
        if is_marked(folder.parent, "demo"):
            write_progress(folder.parent)
    except (RealUIDError, OSError) as error:
        warnings.warn(f"the page of '{folder}' was not written: {error}", PageWarning, stacklevel=2)


def with_page(run: Run) -> Run:
    """The run, which writes its page whenever there is something new to show."""
    run.page = grow_page
    return run


def write_progress(demo: Path) -> Path:
    """The page of a demo in progress: its runs so far, side by side."""
    runs = [
        run for run in sorted(demo.iterdir(), key=_age) if run.is_dir() and is_run(run) and (run / RECIPE).is_file()
    ]
    views = [view_run(run) for run in runs]
    return write_comparison(demo / REPORT, f"Demo in progress: {views[-1].headline()}", views, {}, grows=True)


def _age(run: Path) -> float:
    return run.stat().st_mtime if run.name != "teacher" else 0.0


def runs_in(folder: Path) -> list[Path]:
    """The run of a folder, or those of the demo or sweep that it holds.

    Raises:
        CheckpointError: for a folder without any.
    """
    if is_run(folder):
        return [folder]
    found = [run for run in sorted([*folder.glob("*"), *folder.glob("trials/*")]) if (run / RECIPE).is_file()]
    if not found:
        raise CheckpointError(
            f"'{folder}' is no run, and holds none: pass folders that `realuid train` or `realuid distill` wrote."
        )
    return found


def compare_runs(folders: Sequence[Path], out: Path) -> Path:
    """Write a page that puts runs side by side, with the settings in which they differ.

    Raises:
        CheckpointError: for a folder that is no run.
    """
    check_writable(out)
    recipes = [_recipe(folder) for folder in folders]
    named = [
        {name: value for name, value, _ in changes(recipe, _sections(folder))}
        for folder, recipe in zip(folders, recipes, strict=True)
    ]
    keys = dict.fromkeys(key for setting in named for key in setting)
    differing = {key: [setting.get(key, "default") for setting in named] for key in keys}
    differing = {key: values for key, values in differing.items() if len(set(values)) > 1}
    views = [view_run(folder) for folder in folders]
    bests = [view.best[1] for view in views if view.best]
    found = min((v for v in views if v.best), key=lambda v: v.best[1], default=None)  # type: ignore[index]
    title = "No run has an FD yet" if found is None else f"{found.name} has the lowest FD: {min(bests):.3g}"
    return write_comparison(out, title, views, differing, grows=not all(view.finished for view in views))
