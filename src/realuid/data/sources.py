"""Where data comes from: one string names the bundled digits, a toy, a zip, a folder or a Hugging Face data set."""

from __future__ import annotations

from pathlib import Path

import torch
from sklearn.datasets import load_digits as sklearn_digits

from realuid.data.dataset import Dataset
from realuid.data.degradations import DEGRADATIONS, DRAWING
from realuid.data.images import decode_all, labelled_by_folders, open_files, read_images
from realuid.data.pairs import holds_pairs, read_pairs, split_pairs, with_degradation
from realuid.data.toy import load_toy
from realuid.errors import DataError

SOURCES = "'digits', 'toy:NAME', 'hf:NAME', a folder of images or a .zip in the EDM layout"


def load_dataset(
    source: str,
    channels: int | None = None,
    resolution: int | None = None,
    pairs: str | None = None,
    pairs_seed: int = 0,
) -> Dataset:
    """Read a data set into memory.

    Args:
        source: 'digits' (scikit-learn's 1797 images of 8 x 8), 'toy:NAME' (2-D points), 'hf:NAME' or 'hf:NAME:SPLIT'
            (Hugging Face, or a folder its `save_to_disk` wrote; needs the extra `realuid[data]`), a folder, or a zip.
            A folder or zip with all of its images in input/ and target/ holds pairs of equal names.
        channels: 1 or 3 to convert images; None keeps them as they are.
        resolution: side length to crop and resize images to; None keeps their size.
        pairs: make pairs by a degradation (a name in `realuid.data.DEGRADATIONS`), or with the images of another folder
            or zip that have the same names.
        pairs_seed: of degradations that draw at random (`realuid.data.DRAWING`).

    Raises:
        DataError: for a source that does not exist or cannot be read.
    """
    if channels not in (None, 1, 3):
        raise DataError(f"channels = {channels}: allowed are 1 (grey) and 3 (RGB).")
    if resolution is not None and resolution < 1:
        raise DataError(f"resolution = {resolution}: allowed are positive side lengths.")
    if pairs_seed and pairs not in DRAWING:
        raise DataError(
            f"pairs_seed = {pairs_seed}: pairs = {pairs} draws nothing at random, only {', '.join(DRAWING)} does. "
            "Leave it out."
        )
    if source == "digits":
        data = load_digits()
    elif source.startswith("toy:"):
        data = load_toy(source.removeprefix("toy:"))
    elif source.startswith("hf:"):
        data = load_hugging_face(source.removeprefix("hf:"), channels, resolution)
    elif Path(source).exists():
        data = _load_files(source, channels, resolution, pairs)
    else:
        raise DataError(f"no data at '{source}'. Allowed: {SOURCES}.")
    if pairs and data.sources is None:
        data = with_degradation(data, pairs, pairs_seed)
    if channels and data.is_image and data.shape[0] != channels:
        raise DataError(f"'{source}' has {data.shape[0]} channel(s), but channels = {channels} was asked for.")
    if resolution and data.is_image and data.shape[1:] != (resolution, resolution):
        raise DataError(f"'{source}' is {data.shape[2]}x{data.shape[1]}, but resolution = {resolution} was asked for.")
    return data


def absolute_source(source: str) -> str:
    """The same data, named so that it is found from any working folder."""
    kind, path = ("hf:", source[3:]) if source.startswith("hf:") else ("", source)
    return kind + str(Path(path).resolve()) if source != "digits" and Path(path).exists() else source


def _load_files(source: str, channels: int | None, resolution: int | None, pairs: str | None) -> Dataset:
    files = open_files(source)
    if holds_pairs(files):
        if pairs:
            raise DataError(f"'{source}' holds pairs already (input/ and target/): leave data.pairs = {pairs} out.")
        return read_pairs(*split_pairs(files), channels, resolution)
    files = labelled_by_folders(files) if Path(source).is_dir() else files
    if pairs and pairs not in DEGRADATIONS and Path(pairs).exists():
        return read_pairs(open_files(pairs), files, channels, resolution)
    return read_images(files, channels, resolution)


def load_digits() -> Dataset:
    """scikit-learn's handwritten digits, uint8, shape (1797, 1, 8, 8), 10 classes; in a fixed shuffled order."""
    bunch = sklearn_digits()
    values = torch.from_numpy(bunch.images).mul(255 / 16).round().to(torch.uint8)[:, None]
    labels = torch.from_numpy(bunch.target).long()
    order = torch.randperm(len(values), generator=torch.Generator().manual_seed(0))
    return Dataset(values[order], labels[order], "digits", tuple("0123456789"))


def load_hugging_face(name: str, channels: int | None = None, resolution: int | None = None) -> Dataset:
    """A Hugging Face image data set: its first image column and, if there is one, its first class column."""
    try:
        import datasets
    except ImportError as error:
        raise DataError(f"'hf:{name}' needs the extra: pip install 'realuid[data]'.") from error
    name, _, split = name.partition(":")
    try:
        if Path(name).is_dir():
            table = datasets.load_from_disk(name)
            table = table[split or "train"] if isinstance(table, datasets.DatasetDict) else table
        else:
            table = datasets.load_dataset(name, split=split or "train")
    except Exception as error:  # the library raises many kinds, all about what was asked for
        raise DataError(
            f"'hf:{name}' cannot be loaded ({type(error).__name__}: {str(error).splitlines()[0]})."
        ) from error
    image = next((k for k, v in table.features.items() if isinstance(v, datasets.Image)), None)
    label = next((k for k, v in table.features.items() if isinstance(v, datasets.ClassLabel)), None)
    if image is None:
        raise DataError(f"'hf:{name}' has no image column (columns: {', '.join(table.features)}).")
    table = table.cast_column(image, datasets.Image(decode=False))
    rows = [row["bytes"] or Path(row["path"]).read_bytes() for row in table[image]]
    values = decode_all([str(i) for i in range(len(rows))], lambda i: rows[int(i)], channels, resolution)
    labels = None if label is None else torch.tensor(table[label])
    if labels is not None and labels.min() < 0:
        raise DataError(f"'hf:{name}' has samples without a label. Take another split, as hf:NAME:SPLIT.")
    classes = () if label is None else tuple(table.features[label].names)
    return Dataset(values, labels, Path(name).name, classes)
