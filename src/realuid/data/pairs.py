"""Pairs: images with what they come from, read from files of equal names or made by a degradation."""

from __future__ import annotations

import dataclasses
from pathlib import Path, PurePosixPath

import torch
from torch import Tensor
from torch.nn import functional as F

from realuid.data.dataset import Dataset
from realuid.data.degradations import DEGRADATIONS, degrade
from realuid.data.images import Files, decode, decode_all, open_files, read_images
from realuid.errors import DataError, unknown_name

INPUT, TARGET = "input", "target"


def with_degradation(data: Dataset, name: str, seed: int = 0) -> Dataset:
    """The same images in pairs with what a degradation makes of them.

    Args:
        data: uint8 images.
        name: in `DEGRADATIONS`.
        seed: of degradations that draw at random.

    Raises:
        DataError: for an unknown name, or data that it is not made for.
    """
    if name not in DEGRADATIONS:
        if Path(name).exists():
            raise DataError(
                f"pairs = '{name}': source images in files belong to data in files of the same names, and "
                f"'{data.name}' is no folder or zip. Pass one as the data's source, too, or a degradation."
            )
        raise DataError(f"{unknown_name('kind of pairs', name, DEGRADATIONS)} And no folder or zip is at '{name}'.")
    if not data.is_image:
        raise DataError(f"pairs '{name}' are made from images, but '{data.name}' holds points.")
    sources = degrade(data.values, name, seed)
    return dataclasses.replace(data, sources=sources, degradation=name, degradation_seed=seed)


def holds_pairs(files: Files) -> bool:
    """Whether all files lie in input/ and target/, and some in each."""
    return {PurePosixPath(name).parts[0] for name in files.names} == {INPUT, TARGET}


def split_pairs(files: Files) -> tuple[Files, Files]:
    """The files of input/ and of target/, under their names inside."""
    return _inside(files, INPUT), _inside(files, TARGET)


def _inside(files: Files, folder: str) -> Files:
    names = [name.removeprefix(f"{folder}/") for name in files.names if name.startswith(f"{folder}/")]
    return Files(files.source, names, lambda name: files.read(f"{folder}/{name}"), files.listing)


def read_pairs(inputs: Files, targets: Files, channels: int | None = None, resolution: int | None = None) -> Dataset:
    """Pairs of images with equal names; their endings may differ. Inputs are enlarged to the size of the targets.

    Args:
        inputs, targets: the source images and the data.
        channels, resolution: of the targets, as in `load_dataset`; inputs get the same channels.

    Raises:
        DataError: for an image without its partner, or inputs that do not fit the targets.
    """
    partners = {_stem(name): name for name in inputs.names}
    missing = next((name for name in targets.names if _stem(name) not in partners), None)
    if missing is not None:
        raise DataError(f"'{missing}' of '{targets.source}' has no partner of that name in '{inputs.source}'.")
    data = read_images(targets, channels, resolution)
    names = [partners[_stem(name)] for name in targets.names]
    sources = enlarge(decode_all(names, inputs.read, data.shape[0], None), data.shape, inputs.source)
    return dataclasses.replace(data, name=Path(targets.source).stem, sources=sources)


def read_inputs(path: Path, shape: tuple[int, ...]) -> tuple[list[str], Tensor]:
    """Source images alone, for a model to restore: their names, and uint8 images of the model's shape.

    Args:
        path: a folder or a zip; sizes may differ from image to image.
        shape: (c, h, w) of the model.

    Raises:
        DataError: where there are no images, or one does not fit the model.
    """
    files = open_files(path)
    if not files.names:
        raise DataError(f"'{path}' holds no images.")
    if len(shape) != 3:
        raise DataError(f"the model makes points of shape {shape}, not images.")
    images = []
    for name in files.names:
        pixels = torch.from_numpy(decode(files.read(name), name, shape[0], None).copy())
        images.append(enlarge(pixels.permute(2, 0, 1)[None], shape, name))
    return files.names, torch.cat(images)


def _stem(name: str) -> str:
    return str(PurePosixPath(name).with_suffix(""))


def enlarge(images: Tensor, shape: tuple[int, ...], name: str) -> Tensor:
    """Source images at the size of the data, pixels repeated; the size itself is left as it is.

    Args:
        images: uint8, shape (n, c, h, w).
        shape: (c, H, W) of the data, H and W whole multiples of h and w.
        name: of where they come from, for messages.

    Raises:
        DataError: for another size or number of channels.
    """
    (channels, height, width), (c, H, W) = images.shape[1:], shape
    if channels != c or H % height or W % width or H // height != W // width:
        raise DataError(
            f"source images of '{name}' are {width}x{height} with {channels} channel(s), what is made of them is "
            f"{W}x{H} with {c}: needed are that size, or a whole fraction of it, and as many channels."
        )
    return F.interpolate(images.float(), size=(H, W), mode="nearest").to(torch.uint8)
