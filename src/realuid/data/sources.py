"""Data sets named by a string: the bundled digits, toy data, a zip, a tar, a folder or a Hugging Face data set."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch

from realuid.data.arrow import is_arrow, load_arrow
from realuid.data.coloured_digits import COLOURED, HELD_OUT, coloured_digits
from realuid.data.dataset import Dataset
from realuid.data.degradations import DEGRADATIONS, DRAWING
from realuid.data.files import open_files, quoted
from realuid.data.hugging_face import load_hugging_face
from realuid.data.images import Reading, read_images
from realuid.data.pairs import holds_pairs, read_pairs, split_pairs, with_degradation
from realuid.data.toy import load_toy
from realuid.errors import DataError, DataWarning

SOURCES = (
    "'digits', 'coloured-digits', 'toy:NAME', 'hf:NAME', a folder of images, a .zip in the EDM layout, a .tar, or a "
    "folder that `realuid prepare` or the `save_to_disk` of Hugging Face's datasets wrote"
)
#: scikit-learn's digits, also where a folder of that name is in the way.
DIGITS = ("digits", "sklearn:digits")
#: What a folder holds that is a run or a model of realuid and not data.
_NO_DATA = ("recipe.yaml", "config.json", "checkpoints", "report.html")


def load_dataset(
    source: str | Path,
    channels: int | None = None,
    resolution: int | None = None,
    pairs: str | None = None,
    pairs_seed: int = 0,
    skip_damaged: bool = False,
    by_row: bool = False,
) -> Dataset:
    """Read a data set; what is left out of it or changed in it is said by a `DataWarning`.

    It is read into memory, but for folders that `realuid prepare` or `save_to_disk` wrote: these are read by row, when
    samples are asked for.

    Args:
        source: 'digits' (scikit-learn's 1797 images of 8 x 8; 'sklearn:digits' where a folder has that name),
            'coloured-digits' (the same in colours with captions; 'coloured-digits:held-out' those of other captions),
            'toy:NAME' (2-D points), 'hf:NAME' or 'hf:NAME:SPLIT' (Hugging Face, or a folder its `save_to_disk` wrote;
            needs the extra `realuid[data]`; '?image=COLUMN&label=COLUMN&text=COLUMN' behind it chooses columns), a
            folder, a zip, a tar, or a folder of Arrow files (with the same extra, and columns chosen in the same way).
            A folder or archive with all of its images in input/ and target/ holds pairs of equal names.
        channels: 1 or 3 to convert images; None keeps them as they are.
        resolution: side length to crop and resize images to; None keeps their size.
        pairs: make pairs by a degradation (a name in `realuid.data.DEGRADATIONS`), or with the images of another folder
            or archive that have the same names.
        pairs_seed: of degradations that draw at random (`realuid.data.DRAWING`).
        skip_damaged: leave images out that cannot be read, instead of an error.
        by_row: read images when they are asked for, whatever the source. Those that are left out are black.

    Raises:
        DataError: for a source that does not exist or cannot be read.
    """
    if not isinstance(source, str | Path):
        raise DataError(f"the source of data is a {type(source).__name__}. Allowed: {SOURCES}.")
    source, how = str(source), Reading(channels, resolution, skip_damaged, by_row)
    if pairs_seed and pairs not in DRAWING:
        raise DataError(
            f"pairs_seed = {pairs_seed}: pairs = {pairs} draws nothing at random, only {', '.join(DRAWING)} does. "
            "Leave it out."
        )
    if not source.strip():
        raise DataError(f"the source of data is empty. Allowed: {SOURCES}.")
    if "\0" in source:
        raise DataError(f"{quoted(source)}: a name of a file holds no NUL character.")
    data = _read(source, how, pairs)
    if pairs and data.others:
        raise DataError(f"pairs = {pairs}: '{source}' holds images in several sizes. Prepare it without --buckets.")
    if pairs and data.sources is None:
        data = with_degradation(data, pairs, pairs_seed)
    if channels and data.is_image and data.shape[0] != channels:
        raise DataError(f"'{source}' has {data.shape[0]} channel(s), but channels = {channels} was asked for.")
    if resolution and data.is_image and data.shape[1:] != (resolution, resolution):
        raise DataError(f"'{source}' is {data.shape[2]}x{data.shape[1]}, but resolution = {resolution} was asked for.")
    return data


def _read(source: str, how: Reading, pairs: str | None) -> Dataset:
    """The data of a name, a file or a folder."""
    if source in DIGITS and not _holds_data(source):
        return load_digits()
    if source in (COLOURED, HELD_OUT):
        return coloured_digits(load_digits(), source)
    if source.startswith("toy:"):
        return load_toy(source.removeprefix("toy:"))
    if source.startswith("hf:"):
        return load_hugging_face(source.removeprefix("hf:"), how)
    if is_arrow(source):
        return load_arrow(source, how)
    if Path(source).exists():
        return _load_files(source, how, pairs)
    raise DataError(f"no data at {quoted(source)}. Allowed: {SOURCES}.")


def _holds_data(source: str) -> bool:
    """Whether there is a folder of that name with data in it, which then is said to be meant."""
    path = Path(source)
    if not path.is_dir() or any((path / name).exists() for name in _NO_DATA) or not any(path.iterdir()):
        return False
    warnings.warn(
        f"'{source}' is read from the folder ./{source}. For the digits that come with scikit-learn pass "
        f"'{DIGITS[1]}', or rename the folder.",
        DataWarning,
        stacklevel=4,
    )
    return True


def absolute_source(source: str) -> str:
    """The same data, named so that it is found from any working folder."""
    kind, path = ("hf:", source[3:]) if source.startswith("hf:") else ("", source)
    if source in DIGITS and not (Path(path).is_dir() and not any((Path(path) / name).exists() for name in _NO_DATA)):
        return source
    place, mark, columns = path.partition("?") if is_arrow(path) else (path, "", "")
    return kind + str(Path(place).resolve()) + mark + columns if Path(place).exists() else source


def _load_files(source: str, how: Reading, pairs: str | None) -> Dataset:
    files = open_files(source)
    if holds_pairs(files):
        if pairs:
            raise DataError(f"'{source}' holds pairs already (input/ and target/): leave data.pairs = {pairs} out.")
        return read_pairs(*split_pairs(files), how)
    if pairs and pairs not in DEGRADATIONS and Path(pairs).exists():
        return read_pairs(open_files(pairs), files, how)
    return read_images(files, how)


def load_digits() -> Dataset:
    """scikit-learn's handwritten digits, uint8, shape (1797, 1, 8, 8), 10 classes; in a fixed shuffled order."""
    from sklearn.datasets import load_digits as sklearn_digits  # slow to import

    bunch = sklearn_digits()
    values = torch.from_numpy(bunch.images).mul(255 / 16).round().to(torch.uint8)[:, None]
    labels = torch.from_numpy(bunch.target).long()
    order = torch.randperm(len(values), generator=torch.Generator().manual_seed(0))
    return Dataset(values[order], labels[order], "digits", tuple("0123456789"))
