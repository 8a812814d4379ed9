"""Data sets: sources, columns with random access, pairs, classes, and writing of samples."""

from __future__ import annotations

from realuid.data.columns import Column
from realuid.data.dataset import Batch, Dataset
from realuid.data.degradations import DEGRADATIONS, DRAWING, degrade
from realuid.data.given import DataLike, as_dataset
from realuid.data.grid import grid_image, save_grid, save_image
from realuid.data.order import Order
from realuid.data.pixels import random_flip, to_float, to_uint8
from realuid.data.sources import absolute_source, load_dataset

__all__ = [
    "DEGRADATIONS",
    "DRAWING",
    "Batch",
    "Column",
    "DataLike",
    "Dataset",
    "Order",
    "absolute_source",
    "as_dataset",
    "degrade",
    "grid_image",
    "load_dataset",
    "random_flip",
    "save_grid",
    "save_image",
    "to_float",
    "to_uint8",
]
