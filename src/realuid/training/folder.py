"""The folder of a run: its files, the file that marks it as a run's, and its lock."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from accelerate import Accelerator

from realuid._version import __version__
from realuid.errors import CheckpointError, ConfigError
from realuid.files import atomic_file, check_name, is_empty, remove_written, write_json
from realuid.leftovers import repair
from realuid.locks import held
from realuid.models.saving.folder import CONFIG, is_model_folder
from realuid.reading import read_limited
from realuid.training.checkpoints import Checkpoints

#: The file that marks a folder as a run's.
RUN = "run.json"
_FORMAT = "realuid run"
#: Files and folders of a run: `best` and `model` are models, the others hold files of these names only.
CHECKPOINTS, SAMPLES, BOARD, BEST, MODEL = "checkpoints", "samples", "tensorboard", "best", "model"
METRICS, HISTORY, MACHINE, HEALTH = "metrics.jsonl", "history.json", "machine.json", "health.json"
#: The page of a run, a demo or a comparison.
REPORT = "report.html"
_CONTENTS = {SAMPLES: re.compile(r"\d{7,}\.png"), BOARD: re.compile(r"events\.out\.tfevents\..+")}
#: Names of temporary files of earlier versions.
_OLDER_TEMPORARY = re.compile(
    r"(checkpoints/\.(?P<target>\d{7,})|samples/\.\d{7,}\.png|\.(best|model|\w+\.(jsonl?|yaml|txt|html)))"
    r"\.\d+\.(?P<kind>tmp|old)"
)


def mark(folder: Path, kind: str = "run") -> None:
    """Mark a folder as that of a run, a demo or a sweep."""
    write_json(folder / RUN, {"format": _FORMAT, "kind": kind, "version": __version__})


def is_marked(folder: Path, kind: str = "run") -> bool:
    """Whether a folder is marked as that kind."""
    try:
        said = json.loads(read_limited(folder / RUN))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(said, dict) and (said.get("format"), said.get("kind")) == (_FORMAT, kind)


def is_run(folder: Path) -> bool:
    """Whether a folder is a run's; earlier versions left no mark, but a checkpoint or a model."""
    if is_marked(folder) or has_checkpoint(folder):
        return True
    models = any(is_model_folder(folder / name) for name in (BEST, MODEL))
    return models and ((folder / MACHINE).is_file() or (folder / METRICS).is_file())


def has_checkpoint(folder: Path) -> bool:
    """Whether a run's folder holds a checkpoint."""
    checkpoints = Checkpoints(folder / CHECKPOINTS)
    return any((checkpoints.at(step) / "meta.json").is_file() for step in checkpoints.steps())


def is_finished(folder: Path) -> bool:
    """Whether a run's folder holds its result."""
    return (folder / MODEL / CONFIG).is_file()


def refuse_file(folder: Path) -> None:
    """A run needs a folder, which need not exist."""
    check_name(folder)
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"'{folder}' is a file, but a run needs a folder. Pass another out.")


def refuse_existing(folder: Path, resume: bool) -> None:
    """Raise an error for a folder that holds a run, unless it is resumed, or anything else.

    Raises:
        ConfigError: with what to pass instead.
    """
    refuse_file(folder)
    if resume:
        return
    if has_checkpoint(folder) or is_model_folder(folder / BEST) or (is_finished(folder) and is_run(folder)):
        raise ConfigError(
            f"'{folder}' already holds a run. Pass --resume (resume = True) to continue it, or another out."
        )
    refuse_foreign(folder, is_run(folder))


def refuse_foreign(folder: Path, ours: bool) -> None:
    """Raise ConfigError for a folder with something in it, unless it is ours."""
    refuse_file(folder)
    if not ours and not is_empty(folder):
        raise ConfigError(
            f"'{folder}' is not empty, and is no run of realuid. Nothing was touched. Pass a new folder as out."
        )


@contextmanager
def worked_in(folder: Path, resume: bool, accelerator: Accelerator) -> Iterator[None]:
    """Lock a run's folder within a `with` block; process 0 does it for all processes.

    A resumed run of one process waits for another process that uses the folder.

    Raises:
        ConfigError: if the folder is not for this run, or another process uses it.
    """
    if not accelerator.is_main_process:
        yield
        return
    refuse_existing(folder, resume)
    if resume and not folder.is_dir():
        raise CheckpointError(f"nothing to resume: there is no checkpoint in '{folder / CHECKPOINTS}'.")
    with held(folder, wait=resume and accelerator.num_processes == 1):
        yield


def begin(folder: Path) -> None:
    """Mark a folder as a run's, and remove files of a run that ended before its first checkpoint."""
    refuse_existing(folder, resume=False)
    mark(folder)
    mend(folder)
    _remove_notes(folder)


def write_files(folder: Path, files: Mapping[str, str]) -> None:
    """Write texts under their names, each of them atomically."""
    for name, text in files.items():
        with atomic_file(folder / name) as temporary:
            temporary.write_text(text)


def forget(folder: Path) -> None:
    """Remove the files of a run from its folder, and nothing else; no other process may use it."""
    if not is_run(folder):
        return
    mark(folder)  # the mark stays, so that remaining files are known to be a run's
    checkpoints = Checkpoints(folder / CHECKPOINTS)
    for written in (*map(checkpoints.at, checkpoints.steps()), folder / BEST, folder / MODEL):
        remove_written(written)
    _remove_notes(folder)


def _remove_notes(folder: Path) -> None:
    for name, pattern in _CONTENTS.items():
        for path in (folder / name).glob("*"):
            if pattern.fullmatch(path.name):
                path.unlink()
    for name in (METRICS, HISTORY, MACHINE, HEALTH, REPORT):
        (folder / name).unlink(missing_ok=True)


def mend(folder: Path) -> None:
    """Complete or remove unfinished files of killed processes; no other process may use the folder."""
    repair(folder, _OLDER_TEMPORARY)
