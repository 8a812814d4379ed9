"""The `realuid` command: dispatches to sub-commands, and reports a user's error in one line with exit code 2."""

from __future__ import annotations

import importlib
import io
import os
import shlex
import sys
import tempfile
import traceback
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from itertools import pairwise
from typing import TextIO

from realuid._version import __version__
from realuid.errors import RealUIDError, unknown_name
from realuid.launch import heed_interrupts, launched, launcher
from realuid.text import one_line

#: command -> description; each is in the module of its name.
COMMANDS = {
    "demo": "train a teacher, distil it, evaluate and write a report",
    "train": "train a teacher",
    "distill": "distil a teacher into a student of one call or a few",
    "sample": "sample a teacher or a student",
    "play": "open a local page to sample a student",
    "restore": "restore degraded images",
    "export": "export a student to diffusers, ONNX, torch.export, safetensors or the authors' format",
    "evaluate": "compute FD, KID, precision and recall of a model",
    "check-teacher": "check whether a teacher denoises your data, and under which conventions",
    "convert": "convert a model to another format",
    "prepare": "convert data to a folder that is read from disk, resized once",
    "advise": "propose (alpha, beta) for a teacher and data",
    "sweep": "compare many (alpha, beta) with one teacher",
    "compare": "put runs side by side on one page",
    "analyze": "plot the effect of alpha and beta, from closed forms",
    "info": "describe a model, a run, a recipe or a data set",
    "doctor": "show versions, devices, caches, and which extras are missing for what",
    "completion": "print a completion script for bash, zsh or fish",
}


#: Commands with --resume.
RESUMABLE = ("demo", "train", "distill", "sweep")


def overview() -> str:
    """The text of `realuid --help`."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {text}" for name, text in COMMANDS.items()]
    return "\n".join(
        [
            f"realuid {__version__}: distil matching models into generators of one step or a few",
            "",
            "usage: realuid COMMAND [OPTIONS]",
            "",
            *lines,
            "",
            "`realuid COMMAND --help` lists the options of a command.",
        ]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; returns the exit code: 0 success, 1 a defect, 2 a user's mistake, 130 interrupted."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(overview())
        return 0
    if arguments[0] == "--version":
        print(__version__)
        return 0
    warnings.showwarning = _one_line_warning
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # terminals limited to ASCII still get every line
            stream.reconfigure(errors="backslashreplace")
    command = arguments[0]
    hint = f"; continue with: {resume_command(arguments)}" if command in RESUMABLE else ""
    try:
        if command not in COMMANDS:
            raise RealUIDError(unknown_name("command", command, COMMANDS))
        if launched().world > 1:
            heed_interrupts()
        _run(command, arguments[1:])
        _leave(together=True)
    except BrokenPipeError:  # the reader, for instance `head`, has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (RealUIDError, OSError) as error:
        print(f"realuid: error: {one_line(str(error))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as interrupt:
        said = f"; {interrupt}" if str(interrupt) else ""
        if not said or os.environ.get("RANK", "0") == "0":  # what all processes know is said by one
            print(f"realuid: interrupted{said}{hint}", file=sys.stderr, flush=True)
        _leave(together=bool(said))  # a launcher ends all processes when the first one has ended
        return 130
    except Exception as error:
        return _no_memory(error) or _alone(error, hint) or _defect(error)
    finally:
        _leave(together=False)
    return 0


def resume_command(words: Sequence[str]) -> str:
    """The command that continues what an interrupted one has started: its recipe, --family and --out, and --resume."""
    parts = [part for word in words[1:] for part in (word.split("=", 1) if word.startswith("--") else [word])]
    kept = parts[:1] if parts and not parts[0].startswith("-") else []
    for option, value in pairwise(parts):
        if option in ("--out", "--family"):
            kept += [option, value]
    return f"{launcher()} {shlex.join([words[0], *kept, '--resume'])}"


def _run(command: str, words: Sequence[str]) -> None:
    """Run a command; its help is shown without what only its work needs."""
    from realuid.settings import only_shown

    with only_shown() if {"--help", "-h"} & set(words) else nullcontext():
        importlib.import_module(f"realuid.cli.{command.replace('-', '_')}").run(words)


def _leave(together: bool) -> None:
    """Leave the process group that a command may have joined."""
    if "torch.distributed" in sys.modules:
        importlib.import_module("realuid.processes").leave(together)


def _no_memory(error: Exception) -> int:
    """Say that memory has run out, where that is what an error means; otherwise 0."""
    if not importlib.import_module("realuid.memory").is_out_of_memory(error):
        return 0
    print(
        f"realuid: error: out of memory ({one_line(str(error))[:300]}). Ask for less at a time (--batch), for smaller "
        "images or a smaller network.",
        file=sys.stderr,
    )
    return 2


def _alone(error: Exception, hint: str) -> int:
    """Say that another process of this run has ended, where that is what an error means; otherwise 0."""
    if not importlib.import_module("realuid.processes").is_partner_lost(error):
        return 0
    reason = one_line(str(error))[:200]
    print(f"realuid: error: another process of this run has ended or does not answer ({reason}){hint}", file=sys.stderr)
    return 2


def _defect(error: Exception) -> int:
    """An unexpected error as one line with the path of its traceback; with $REALUID_DEBUG it is printed."""
    story = "".join(traceback.format_exception(error))
    if os.environ.get("REALUID_DEBUG"):
        print(story, file=sys.stderr)
    with tempfile.NamedTemporaryFile(
        "w", prefix="realuid-", suffix=".log", delete=False, errors="backslashreplace"
    ) as file:
        file.write(story)
    reason = one_line(f"{type(error).__name__}: {error}")
    print(f"realuid: unexpected error: {reason} (traceback: {file.name})", file=sys.stderr)
    return 1


def _one_line_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    if issubclass(category, UserWarning) and category.__module__.startswith("realuid"):
        print(f"realuid: warning: {one_line(str(message))}", file=sys.stderr)
    elif os.environ.get("REALUID_WARNINGS"):
        print(f"{filename}:{lineno}: {category.__name__}: {one_line(str(message))}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
