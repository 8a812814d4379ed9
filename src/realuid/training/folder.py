"""The folder of a run: what is in it, whose it is, and who works on it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from accelerate import Accelerator

from realuid._version import __version__
from realuid.errors import CheckpointError, ConfigError
from realuid.files import check_name, is_empty, remove_written, write_json
from realuid.leftovers import repair
from realuid.locks import held
from realuid.models.saving.folder import CONFIG, is_model_folder
from realuid.reading import read_limited
from realuid.training.checkpoints import Checkpoints

#: The file that says that a folder is a run's.
RUN = "run.json"
_FORMAT = "realuid run"
#: What a run writes besides: `best` and `model` are models, the others hold files of these names only.
CHECKPOINTS, SAMPLES, BOARD, BEST, MODEL = "checkpoints", "samples", "tensorboard", "best", "model"
METRICS, HISTORY, MACHINE = "metrics.jsonl", "history.json", "machine.json"
_CONTENTS = {SAMPLES: re.compile(r"\d{7,}\.png"), BOARD: re.compile(r"events\.out\.tfevents\..+")}
#: How earlier versions called temporaries of these.
_OLDER_TEMPORARY = re.compile(
    r"(checkpoints/\.(?P<target>\d{7,})|samples/\.\d{7,}\.png|\.(best|model|\w+\.(jsonl?|yaml|txt|html)))"
    r"\.\d+\.(?P<kind>tmp|old)"
)


def mark(folder: Path, kind: str = "run") -> None:
    """Say in a folder what realuid makes there: a run, a demo or a sweep."""
    write_json(folder / RUN, {"format": _FORMAT, "kind": kind, "version": __version__})


def is_marked(folder: Path, kind: str = "run") -> bool:
    """Whether `mark` said so."""
    try:
        said = json.loads(read_limited(folder / RUN))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(said, dict) and (said.get("format"), said.get("kind")) == (_FORMAT, kind)


def is_run(folder: Path) -> bool:
    """Whether realuid has begun a run in a folder; earlier versions left no mark, but a checkpoint or a model."""
    if is_marked(folder) or has_checkpoint(folder):
        return True
    models = any(is_model_folder(folder / name) for name in (BEST, MODEL))
    return models and ((folder / MACHINE).is_file() or (folder / METRICS).is_file())


def has_checkpoint(folder: Path) -> bool:
    """Whether a run's folder holds something to resume from."""
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
    """A run never overwrites another one unless told to go on with it, nor anything else.

    Raises:
        ConfigError: for a folder that holds a run, or something that is none.
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
    """Hold a run's folder for the length of a `with` block: process 0 does it for all.

    A resumed run of one process waits for another one that works on it.

    Raises:
        ConfigError: where the folder is not for this run, or another process works on it.
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
    """Mark a folder as a run's, and remove what a run that came to nothing left there; nothing else."""
    refuse_existing(folder, resume=False)
    mark(folder)
    mend(folder)
    _remove_notes(folder)


def forget(folder: Path) -> None:
    """Remove what a run wrote to its folder, and nothing else; no other process may work on it."""
    if not is_run(folder):
        return
    mark(folder)  # which stays, so that what is left is known for a run's
    checkpoints = Checkpoints(folder / CHECKPOINTS)
    for written in (*map(checkpoints.at, checkpoints.steps()), folder / BEST, folder / MODEL):
        remove_written(written)
    _remove_notes(folder)


def _remove_notes(folder: Path) -> None:
    for name, pattern in _CONTENTS.items():
        for path in (folder / name).glob("*"):
            if pattern.fullmatch(path.name):
                path.unlink()
    for name in (METRICS, HISTORY, MACHINE):
        (folder / name).unlink(missing_ok=True)


def mend(folder: Path) -> None:
    """Finish what killed processes left in a run's folder; no other process may work on it."""
    repair(folder, _OLDER_TEMPORARY)
