"""What all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real data and reference tensors: $REALUID_SHARED, or `shared` beside the checkout."""
    path = Path(os.environ.get("REALUID_SHARED", Path(__file__).parents[2] / "shared"))
    if not path.is_dir():
        pytest.skip(f"no reference data at {path}: set REALUID_SHARED")
    return path
