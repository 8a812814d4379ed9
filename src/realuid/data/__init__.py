"""Data in memory as uint8, and batches of it on a device."""

from __future__ import annotations

from realuid.data.dataset import Dataset, Order, random_flip, to_float, to_uint8
from realuid.data.grid import grid_image, save_grid
from realuid.data.latents import encode_dataset
from realuid.data.sources import absolute_source, load_dataset

__all__ = [
    "Dataset",
    "Order",
    "absolute_source",
    "encode_dataset",
    "grid_image",
    "load_dataset",
    "random_flip",
    "save_grid",
    "to_float",
    "to_uint8",
]
