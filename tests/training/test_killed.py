"""A short version of benchmarks/kill_and_resume.py: a real process, a real SIGKILL, twice in one run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "kill_and_resume.py"


@pytest.mark.slow
def test_a_run_killed_twice_ends_bit_identical() -> None:
    arguments = ("--kills", "2", "--run", "teacher", "--protocol", "chain", "--updates", "40")
    done = subprocess.run(
        [sys.executable, str(BENCHMARK), *arguments], capture_output=True, text=True, timeout=1800, env=os.environ
    )
    assert done.returncode == 0, done.stdout + done.stderr
    kind, protocol, kills, *_, runs, differ = done.stdout.splitlines()[1].split()
    assert (kind, protocol, kills, runs, differ) == ("teacher", "chain", "2", "1", "0")
