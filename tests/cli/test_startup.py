"""Help is shown without torch: it takes seconds to import."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from realuid._version import __version__
from realuid.cli.main import COMMANDS
from realuid.recipes import PathConfig, load_recipe

SCRIPT = """
import contextlib, io, json, sys
from realuid.cli.main import COMMANDS, main
told = {}
for words in ([], *([command] for command in COMMANDS), ["distill", "cifar10"]):
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), contextlib.suppress(SystemExit):
        main([*words, "--help"])
    heavy = [name for name in ("torch", "diffusers", "transformers", "numpy", "sklearn") if name in sys.modules]
    told[" ".join(words)] = [shown.getvalue(), heavy]
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def told() -> dict[str, tuple[str, list[str]]]:
    """Command -> its help, and the libraries that were imported by then, all in one process."""
    run = subprocess.run([sys.executable, "-c", SCRIPT], check=True, capture_output=True, text=True)
    return json.loads(run.stdout)


@pytest.mark.parametrize("command", ["", *COMMANDS, "distill cifar10"])
def test_help_needs_no_torch(told, command: str) -> None:
    shown, heavy = told[command]
    assert f"usage: realuid {command.split(' ')[0]}".rstrip() in shown and heavy == []


def test_help_shows_the_values_of_the_recipe(told) -> None:
    config = load_recipe("cifar10").distill
    (line,) = (line for line in told["distill cifar10"][0].split("--") if line.startswith("generator-lr "))
    assert f"default: {config.generator_lr}" in line.replace("│", " ")


def test_the_linear_path_has_no_settings() -> None:
    """So `realuid train --help` need not import it to list them."""
    assert PathConfig().name == "linear" and PathConfig().in_full() == PathConfig()


def test_the_package_runs_as_a_program() -> None:
    asked = [sys.executable, "-m", "realuid", "--version"]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=600, check=True)
    assert done.stdout.strip() == __version__
