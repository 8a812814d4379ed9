"""The `realuid` command: finds the sub-command, turns users' mistakes into one line and exit code 2."""

from __future__ import annotations

import importlib
import io
import os
import sys
import tempfile
import traceback
import warnings
from collections.abc import Sequence

from realuid._version import __version__
from realuid.errors import RealUIDError, unknown_name
from realuid.text import one_line

#: command -> what it does, in one line; each lives in the module of its name.
COMMANDS = {
    "demo": "train a teacher, distil it, measure and report, in one go",
    "train": "train a teacher",
    "distill": "distil a teacher into a one-step generator",
    "sample": "draw images from a teacher or a generator",
    "restore": "turn degraded images into restored ones",
    "export": "write a generator for diffusers, ONNX Runtime, torch alone or the authors' scripts",
    "evaluate": "measure FD, KID, precision and recall of a model",
    "check-teacher": "find out if a teacher denoises your data and, if not, why",
    "convert": "write a model in another format",
    "prepare": "write data for reading from disk, cropped and resized once",
    "advise": "propose (alpha, beta) for a teacher and data",
    "sweep": "try many (alpha, beta) with one teacher and compare",
    "analyze": "draw where the coefficients act, from closed forms",
    "info": "say what a model, a run, a recipe or a data set is",
}


#: Commands with --resume.
RESUMABLE = ("demo", "train", "distill", "sweep")


def overview() -> str:
    """The text of `realuid --help`."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {text}" for name, text in COMMANDS.items()]
    return "\n".join(
        [
            f"realuid {__version__}: distil matching models into one-step generators",
            "",
            "usage: realuid COMMAND [OPTIONS]",
            "",
            *lines,
            "",
            "`realuid COMMAND --help` lists the options of a command.",
        ]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; returns the exit code: 0 done, 1 a defect, 2 a mistake in what was asked, 130 interrupted."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(overview())
        return 0
    if arguments[0] == "--version":
        print(__version__)
        return 0
    warnings.showwarning = _one_line_warning
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that knows ASCII only still gets every line
            stream.reconfigure(errors="backslashreplace")
    command = arguments[0]
    try:
        if command not in COMMANDS:
            raise RealUIDError(unknown_name("command", command, COMMANDS))
        importlib.import_module(f"realuid.cli.{command.replace('-', '_')}").run(arguments[1:])
        _leave(together=True)
    except BrokenPipeError:  # whoever reads, `head` for instance, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (RealUIDError, OSError) as error:
        print(f"realuid: error: {one_line(str(error))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        hint = "; `--resume` continues from the last checkpoint" if command in RESUMABLE else ""
        print(f"realuid: interrupted{hint}", file=sys.stderr)
        return 130
    except Exception as error:
        return _defect(error)
    finally:
        _leave(together=False)
    return 0


def _leave(together: bool) -> None:
    """Close the group of processes that a command may have joined."""
    if "realuid.processes" in sys.modules:
        importlib.import_module("realuid.processes").leave(together)


def _defect(error: Exception) -> int:
    """What nobody foresaw, in one line that says where the traceback is; with $REALUID_DEBUG it is printed."""
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


def _one_line_warning(message, category, filename, lineno, file=None, line=None) -> None:
    if issubclass(category, UserWarning) and category.__module__.startswith("realuid"):
        print(f"realuid: warning: {one_line(str(message))}", file=sys.stderr)
    elif os.environ.get("REALUID_WARNINGS"):
        print(f"{filename}:{lineno}: {category.__name__}: {one_line(str(message))}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
