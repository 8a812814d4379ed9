"""Read images from a folder or a zip into one uint8 tensor."""

from __future__ import annotations

import io
import json
import lzma
import operator
import os
import zipfile
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from realuid.data.dataset import Dataset
from realuid.errors import DataError

LABELS = "dataset.json"
_MODES = {1: "L", 3: "RGB"}
#: What damaged and encrypted zips, and those of an unknown compression, raise.
_BROKEN_ZIP = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, RuntimeError, OSError, EOFError)
#: More classes than any data set has: a larger label is a mistake, and would cost its size in memory.
_CLASSES = 1_000_000


def decode(content: bytes, name: str, channels: int | None, resolution: int | None) -> np.ndarray:
    """One encoded image to uint8, shape (h, w, c), turned as its EXIF data say; 16-bit grey keeps its upper byte.

    Args:
        content: PNG, JPEG, ... as bytes.
        name: for messages.
        channels: 1 or 3 to convert; None keeps grey grey and everything else RGB.
        resolution: side length to crop to the centre square and resize to; None keeps the size.
    """
    try:
        with Image.open(io.BytesIO(content)) as opened:
            image = ImageOps.exif_transpose(opened)
            if image.mode.startswith("I;16"):  # which Pillow would clip at 255
                image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
            image = image.convert(_MODES[channels or (1 if image.mode in ("L", "1", "LA") else 3)])
    except Exception as error:  # decoders of damaged files raise nearly every type
        raise DataError(f"'{name}' is not an image that can be read. Remove it or repair it.") from error
    if resolution and image.size != (resolution, resolution):
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        image = image.crop((left, top, left + side, top + side)).resize((resolution,) * 2, Image.Resampling.LANCZOS)
    pixels = np.asarray(image)
    return pixels[..., None] if pixels.ndim == 2 else pixels


def decode_all(
    names: Sequence[str], read: Callable[[str], bytes], channels: int | None, resolution: int | None
) -> Tensor:
    """Decode many images in threads; all must end in one shape. Returns uint8, shape (n, c, h, w)."""
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        arrays = list(pool.map(lambda name: decode(read(name), name, channels, resolution), names, chunksize=256))
    for name, array in zip(names, arrays, strict=True):
        if array.shape != arrays[0].shape:
            raise DataError(
                f"'{name}' is {_describe(array)} while '{names[0]}' is {_describe(arrays[0])}. Pass a resolution "
                "and / or a number of channels (1 or 3) to make all alike."
            )
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).contiguous()


def _describe(array: np.ndarray) -> str:
    height, width, channels = array.shape
    return f"{width}x{height} with {channels} channel{'s' if channels > 1 else ''}"


class Files(NamedTuple):
    """Encoded images under their names, from a folder or a zip."""

    #: For messages, and to name the data after.
    source: str
    names: list[str]
    read: Callable[[str], bytes]
    #: dataset.json, if there is one.
    listing: bytes | None = None


def open_zip(path: Path) -> Files:
    """The files of a zip.

    Raises:
        DataError: for a missing or truncated zip.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = [n for n in archive.namelist() if not n.endswith("/") and _is_image(n)]
            listing = archive.read(LABELS) if LABELS in archive.namelist() else None
            contents = {name: archive.read(name) for name in names}
    except _BROKEN_ZIP as error:
        raise DataError(f"'{path}' is not a whole zip file ({error}). Download or write it again.") from error
    return Files(str(path), sorted(names), contents.__getitem__, listing)


def open_folder(path: Path) -> Files:
    """The files of a folder, searched through all levels."""
    files = sorted(f.relative_to(path) for f in path.rglob("*") if f.is_file())
    names = [f.as_posix() for f in files if _is_image(f)]
    listing = (path / LABELS).read_bytes() if (path / LABELS).is_file() else None
    return Files(str(path), names, lambda name: (path / name).read_bytes(), listing)


def open_files(path: str | Path) -> Files:
    """The files of a folder or a zip.

    Raises:
        DataError: where neither is there, or the zip is damaged.
    """
    path = Path(path)
    if path.is_dir():
        return open_folder(path)
    if path.is_file() and Image.registered_extensions().get(path.suffix.lower()):
        raise DataError(f"'{path}' is a single image. Put images into a folder or a zip, and pass that.")
    if path.is_file():
        return open_zip(path)
    raise DataError(f"there is no folder or zip at '{path}'.")


def read_zip(path: Path, channels: int | None = None, resolution: int | None = None) -> Dataset:
    """A zip in the EDM / StyleGAN layout: images in folders, labels in `dataset.json` if there are any.

    Raises:
        DataError: for a missing, truncated or empty zip, or a file in it that is not an image.
    """
    return read_images(open_zip(path), channels, resolution)


def read_folder(path: Path, channels: int | None = None, resolution: int | None = None) -> Dataset:
    """A folder of images, searched through all levels.

    Labels come from `dataset.json` if it is there; else, if every image lies in a sub-folder, from the folder names.
    """
    return read_images(labelled_by_folders(open_folder(path)), channels, resolution)


def labelled_by_folders(files: Files) -> Files:
    """The same files, labelled by sub-folder if every one lies in one and dataset.json does not label them."""
    if files.listing is not None or not files.names or not all("/" in name for name in files.names):
        return files
    return files._replace(listing=json.dumps({"labels": _labels_from_folders(files.names)}).encode())


def _is_image(name: str | Path) -> bool:
    """Whether a file counts: all but the labels and what operating systems leave behind, hidden or not."""
    parts = Path(name).parts
    return parts[-1] not in (LABELS, "Thumbs.db", "desktop.ini") and not any(
        part.startswith(".") or part == "__MACOSX" for part in parts
    )


def _labels_from_folders(names: Sequence[str]) -> list[list]:
    folders = [Path(name).parts[0] for name in names]
    order = {folder: i for i, folder in enumerate(sorted(set(folders)))}
    return [[name, order[folder]] for name, folder in zip(names, folders, strict=True)]


def read_images(files: Files, channels: int | None = None, resolution: int | None = None) -> Dataset:
    """Decode files into a data set, with the labels of their listing."""
    if not files.names:
        raise DataError(f"'{files.source}' holds no images.")
    labels = _read_labels(files.source, files.names, files.listing)
    values = decode_all(files.names, files.read, channels, resolution)
    classes = () if labels is None else tuple(str(i) for i in range(int(labels.max()) + 1))
    return Dataset(values, labels, Path(files.source).stem, classes)


def _read_labels(source: str, names: Sequence[str], listing: bytes | None) -> Tensor | None:
    if listing is None:
        return None
    try:
        pairs = json.loads(listing)["labels"]
        table = {} if pairs is None else {name: operator.index(label) for name, label in pairs}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(
            f"{LABELS} of '{source}' is not {{\"labels\": [[name, class], ...]}} ({type(error).__name__})."
        ) from error
    if not table:
        return None
    missing = next((name for name in names if name not in table), None)
    if missing is not None:
        raise DataError(f"{LABELS} of '{source}' has no label for '{missing}'.")
    labels = torch.tensor([table[name] for name in names])
    if not 0 <= labels.min() <= labels.max() < _CLASSES:
        raise DataError(
            f"{LABELS} of '{source}' has labels from {labels.min()} to {labels.max()}. Allowed are 0 to {_CLASSES - 1}."
        )
    return labels
