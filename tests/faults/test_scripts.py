"""The scripts that the faults were reported with: each ends with 0 once its fault is mended.

Where names of the interface have changed since, the scripts were changed along; what they find wrong was not.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = sorted(path for path in (Path(__file__).parent / "scripts").glob("*.py") if path.stem != "common")
#: Take the library's own time; the others are commands, mostly.
SECONDS = 1800


def can_mount() -> bool:
    """Whether file systems can be mounted here, as one script does."""
    return os.geteuid() == 0 if hasattr(os, "geteuid") else False


def test_all_scripts_are_here() -> None:
    assert len(SCRIPTS) == 44


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_fault_that_was_reported_is_not_there(script: Path) -> None:
    if script.stem.startswith("m07") and not can_mount():
        pytest.skip("mounting a small disk takes root")
    run = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=SECONDS, check=False)
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-2000:]
