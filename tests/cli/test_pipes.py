"""Commands whose output goes into a pipe."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.slow
def test_a_reader_that_leaves_is_no_mistake() -> None:
    command = [sys.executable, "-m", "realuid.cli.main", "train", "--help"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stderr
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 0
