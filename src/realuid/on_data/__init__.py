"""Models applied to data: conditions, samples, and images encoded as latents."""

from __future__ import annotations

from realuid.on_data.conditions import (
    BATCH,
    adopt_null,
    adopt_size,
    check_pairs,
    condition_columns,
    conditions,
    read_conditions,
    record_classes,
    sample_image,
    samples,
    samples_of_each_call,
)
from realuid.on_data.latents import encode_dataset

__all__ = [
    "BATCH",
    "adopt_null",
    "adopt_size",
    "check_pairs",
    "condition_columns",
    "conditions",
    "encode_dataset",
    "read_conditions",
    "record_classes",
    "sample_image",
    "samples",
    "samples_of_each_call",
]
