"""Data in memory as uint8, and batches of it on a device."""

from __future__ import annotations

from realuid.data.conditions import check_pairs, conditions, sample_image, samples
from realuid.data.dataset import Dataset, Order, random_flip, to_float, to_uint8
from realuid.data.degradations import DEGRADATIONS, DRAWING, degrade
from realuid.data.grid import grid_image, save_grid, save_image
from realuid.data.latents import encode_dataset
from realuid.data.sources import absolute_source, load_dataset

__all__ = [
    "DEGRADATIONS",
    "DRAWING",
    "Dataset",
    "Order",
    "absolute_source",
    "check_pairs",
    "conditions",
    "degrade",
    "encode_dataset",
    "grid_image",
    "load_dataset",
    "random_flip",
    "sample_image",
    "samples",
    "save_grid",
    "save_image",
    "to_float",
    "to_uint8",
]
