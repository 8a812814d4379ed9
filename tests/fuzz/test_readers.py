"""200 damaged files for every reader; twenty thousand of each: benchmarks/fuzz.py."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from fuzz import READERS, models
from fuzz.harness import BreachError, Case, HangError, outcome, outcomes
from realuid.errors import ConfigError

ERRORS = {"CheckpointError", "ConfigError", "DataError", "PredictionError"}
#: A second or two for 200 files; of the others that write no programs, 20 are quick.
QUICK = ("zips", "tars", "listings", "checksums", "specials")
OTHERS = ("pickles", "folders", "settings", "torch", "safetensors", "images", "recipes", "runs")


@pytest.mark.parametrize(
    ("reader", "inputs"),
    [
        *((name, 200) for name in QUICK),
        *((name, 20) for name in OTHERS),
        *(pytest.param(name, 200, marks=pytest.mark.slow) for name in READERS if name not in QUICK),
    ],
)
def test_a_reader_raises_the_librarys_errors_and_nothing_else(reader, inputs, tmp_path):
    found = list(outcomes(READERS[reader], inputs, 0, tmp_path))
    assert len(found) == inputs and set(found) <= {"read", *ERRORS}
    assert inputs < 200 or not ERRORS.isdisjoint(found)  # the damage does something


@pytest.mark.parametrize("fault", [lambda: os.system("true"), lambda: subprocess.run(["true"], check=False)])
def test_programs_that_run_would_be_seen(fault, tmp_path):
    with pytest.raises(BreachError, match=r"os\.system|Popen"):
        outcome(Case(fault, 0), tmp_path)


def test_other_files_would_be_seen(tmp_path):
    with pytest.raises(BreachError, match="open /etc/passwd"):
        outcome(Case(lambda: Path("/etc/passwd").read_bytes(), 0), tmp_path / "work")


def test_memory_would_be_seen(tmp_path):
    with pytest.raises(BreachError, match="of memory"):
        outcome(Case(lambda: bytearray(b"1") * (600 << 20), 0), tmp_path)


def test_a_hang_would_be_seen(tmp_path, monkeypatch):
    monkeypatch.setattr("fuzz.harness.SECONDS", 1)

    def forever() -> None:
        while True:
            pass

    with pytest.raises(HangError):
        outcome(Case(forever, 0), tmp_path)


def test_errors_are_told_apart(tmp_path):
    def fail(error: Exception) -> Callable[[], object]:
        def read() -> None:
            raise error

        return read

    assert outcome(Case(fail(ConfigError("no")), 0), tmp_path) == "ConfigError"
    with pytest.raises(KeyError):
        outcome(Case(fail(KeyError("no")), 0), tmp_path)


@pytest.mark.parametrize("reader", ["folders", "zips"])
def test_the_same_seed_makes_the_same_files(reader, tmp_path):
    first, second = (list(outcomes(READERS[reader], 20, 3, tmp_path / name)) for name in _folders(tmp_path))
    assert first == second


def _folders(parent: Path) -> list[str]:
    for name in ("a", "b"):
        (parent / name).mkdir()
    return ["a", "b"]


def test_undamaged_models_load(tmp_path):
    for content, _ in models.whole_pickles(tmp_path):
        (tmp_path / "whole.pkl").write_bytes(content)
        models.loading(lambda: models.load_edm_pickle(tmp_path / "whole.pkl"))()
    for folder in models.whole_folders(tmp_path):
        models.loading(lambda folder=folder: models.from_pretrained(folder))()


@pytest.mark.slow
def test_libraries_print_nothing_about_damaged_files(tmp_path, capfd):
    """ONNX Runtime says on stdout and stderr what it raises; so would a user see it before our line."""
    fuzzer = READERS["onnx"](tmp_path, random.Random(0))
    next(fuzzer)  # what the export prints
    capfd.readouterr()
    for _ in range(900):  # of which four were printed about
        outcome(next(fuzzer), tmp_path)
    assert capfd.readouterr() == ("", "")
