"""Data in memory as uint8, and batches of it on a device."""

from __future__ import annotations

from realuid.data.dataset import Dataset, Order, random_flip, to_float, to_uint8
from realuid.data.degradations import DEGRADATIONS, DRAWING, degrade
from realuid.data.grid import grid_image, save_grid, save_image
from realuid.data.sources import absolute_source, load_dataset

__all__ = [
    "DEGRADATIONS",
    "DRAWING",
    "Dataset",
    "Order",
    "absolute_source",
    "degrade",
    "grid_image",
    "load_dataset",
    "random_flip",
    "save_grid",
    "save_image",
    "to_float",
    "to_uint8",
]
