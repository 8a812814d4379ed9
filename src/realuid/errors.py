"""Errors a user can cause. The command line prints them in one line and exits with code 2."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class RealUIDError(ValueError):
    """A mistake in what was passed: the message says what it was, what is allowed and what to do, in one line."""

    def __init__(self, message: object = ""):
        super().__init__(" ".join(line.strip() for line in str(message).splitlines()))


class ConfigError(RealUIDError):
    """A setting that is unknown, illegal or contradicts another one."""


class DataError(RealUIDError):
    """Data that is missing, damaged or of the wrong kind."""


class DataWarning(UserWarning):
    """Data was skipped or changed, with numbers; or one of several interpretations was chosen."""


class PredictionError(RealUIDError):
    """A prediction type that does not exist on a path, or cannot be computed from another one."""


class CheckpointError(RealUIDError):
    """A checkpoint or model folder that is missing, damaged or belongs to something else."""


class ExportError(RealUIDError):
    """A model that a format cannot hold, or an exported file whose output differs from the model's."""


class NonFiniteError(RealUIDError):
    """A loss, a gradient or a sample is infinite or NaN; it was not saved."""


class OutOfMemoryError(RealUIDError):
    """A batch that does not fit into the device's memory and cannot be split further."""


class OutOfMemoryWarning(UserWarning):
    """A batch did not fit into memory and is worked on in smaller parts; results stay the same."""


class StorageError(RealUIDError):
    """A disk that is full, or a quota that is used up; nothing half-written was left."""


def unknown_name(kind: str, name: str, allowed: Iterable[str]) -> str:
    """The message for an unknown name: what was passed, the nearest match, and what is allowed."""
    allowed = sorted(allowed)
    close = get_close_matches(name, allowed, n=1)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    return f"unknown {kind} '{name}'.{hint} Allowed: {', '.join(allowed)}."
