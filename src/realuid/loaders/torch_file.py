"""Reading torch's own files safely: plain values and tensors only, undamaged, or an error."""

from __future__ import annotations

import argparse
import re
import zipfile
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from realuid.errors import CheckpointError

#: Classes besides plain values that trainers put into their files and that do nothing when made: their options.
_HARMLESS: list = [argparse.Namespace]


def read_torch_file(path: str | Path) -> dict[Any, Any]:
    """A dictionary from a file that `torch.save` wrote; nothing in the file can run.

    torch itself does not look at the checksums of its archives, so a flipped bit would pass for a weight: they are
    compared here, where the file has them.

    Raises:
        CheckpointError: where the file is missing or damaged, asks for more than plain data, or is no dictionary.
    """
    if not Path(path).is_file():
        raise CheckpointError(f"no checkpoint at '{path}'.")
    try:
        damaged = _damaged_entry(path)
        with torch.serialization.safe_globals(_HARMLESS):
            content = None if damaged else torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damage surfaces as nearly any type
        raise CheckpointError(f"'{path}' cannot be read as a torch file of plain data ({_reason(error)}).") from error
    if damaged:
        raise CheckpointError(f"'{path}' is damaged: '{damaged}' in it does not match its checksum.")
    if not isinstance(content, dict):
        raise CheckpointError(f"'{path}' holds a {type(content).__name__}, not a dictionary.")
    return content


def _reason(error: Exception) -> str:
    """One line of what torch says in many."""
    code = re.search(r"GLOBAL (\S+)", str(error))
    if code:
        return f"it asks for {code[1]}, which may run code"
    if isinstance(error, UnpicklingError):
        return "its contents are damaged, or more than plain data"
    return next(iter(str(error).splitlines()), type(error).__name__)


def _damaged_entry(path: str | Path) -> str | None:
    """The first entry whose checksum is wrong; torch can be told to write none, which reads as 0."""
    if not zipfile.is_zipfile(path):
        return None
    with zipfile.ZipFile(path) as archive:
        entry = archive.testzip()
        return entry if entry and archive.getinfo(entry).CRC else None
