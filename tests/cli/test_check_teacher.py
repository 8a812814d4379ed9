"""The table of `realuid check-teacher`: readings that are the same on a path are one row."""

from __future__ import annotations

import torch

from realuid.cli.check_teacher import _table
from realuid.loaders.readings import Check, Finding, Reading
from realuid.models import Plain, Steps


def test_readings_that_differ_by_rounding_are_one_row() -> None:
    steps = Finding(Reading("noise_prediction", Steps(1000.0)), (0.20, 0.60), (0.5, 1.0))
    time = Finding(Reading("noise_prediction", Plain(1000.0)), (0.199, 0.61), (0.5, 1.0))
    other = Finding(Reading("velocity", Plain(1000.0)), (0.21, 0.9), (0.5, 1.0))
    table = _table(Check(steps, (time, steps, other), torch.empty(0), 1))
    rows = list(zip(*(column._cells for column in table.columns), strict=True))
    assert rows == [
        (
            "noise_prediction, time 0 = data, scale 1000, in whole steps, values in [-1, 1] (declared)",
            "0.4",
            "0.6",
            "0.49",
        ),
        ("velocity, time 0 = data, scale 1000, values in [-1, 1]", "0.42", "0.9", "0.61"),
    ]
