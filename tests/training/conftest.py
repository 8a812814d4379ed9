"""What the tests of training share."""

from __future__ import annotations

import pytest
import torch

from realuid.data import Dataset


@pytest.fixture
def data() -> Dataset:
    """Fifty images of noise in five classes."""
    g = torch.Generator().manual_seed(0)
    values = torch.randint(0, 256, (50, 1, 8, 8), generator=g, dtype=torch.uint8)
    return Dataset(values, torch.arange(50) % 5, "noise", tuple("01234"))
