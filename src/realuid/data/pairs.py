"""Pairs of images and sources, from files of the same name or by a degradation."""

from __future__ import annotations

import dataclasses
import posixpath
import warnings
from functools import partial
from pathlib import Path, PurePosixPath

import torch
from torch import Tensor
from torch.nn import functional as F

from realuid.data.columns import Column, Derived, Values
from realuid.data.dataset import Dataset
from realuid.data.degradations import DEGRADATIONS, degrade
from realuid.data.files import Files, common_folder, few, open_files
from realuid.data.images import Reading, decode_all, decode_each, read_named
from realuid.errors import DataError, DataWarning, unknown_name

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
    if isinstance(data.values, Column):
        sources: Values = Derived(data.values, partial(degrade, name=name, seed=seed), f"{name} {seed}")
    else:
        sources = degrade(data.values, name, seed)
    return dataclasses.replace(data, sources=sources, degradation=name, degradation_seed=seed)


def holds_pairs(files: Files) -> bool:
    """Whether all files lie in input/ and target/ (perhaps of one folder), and some in each."""
    above = PurePosixPath(common_folder(files.names))
    return {PurePosixPath(name).relative_to(above).parts[0] for name in files.names} == {INPUT, TARGET}


def split_pairs(files: Files) -> tuple[Files, Files]:
    """The files of input/ and of target/, under their names inside."""
    above = common_folder(files.names)
    inputs, targets = (files.inside(posixpath.join(above, folder)) for folder in (INPUT, TARGET))
    return dataclasses.replace(inputs, left_out=()), targets


def read_pairs(inputs: Files, targets: Files, how: Reading) -> Dataset:
    """Pairs of images with equal names; their endings may differ. Inputs are enlarged to the size of the targets.

    Args:
        inputs, targets: the source images and the data.
        how: channels and resolution of the targets; inputs get the same channels. With `skip_damaged`, a pair is left
            out where either image cannot be read.

    Raises:
        DataError: for an image without its partner, two inputs of one name, or inputs that do not fit the targets.
    """
    partners, wanted = _by_stem(inputs), _by_stem(targets)
    missing = [name for stem, name in wanted.items() if stem not in partners]
    if missing:
        raise DataError(f"{few(missing)} of '{targets.source}' has no partner of that name in '{inputs.source}'.")
    if alone := len(partners) - len(wanted):
        warnings.warn(f"'{inputs.source}': {alone} inputs without a target are left out.", DataWarning, stacklevel=2)
    data, names = read_named(targets, how)
    partner_of = {partners[_stem(name)]: i for i, name in enumerate(names)}
    chosen = dataclasses.replace(inputs, entries={name: inputs.entries[name] for name in partner_of})
    sources, kept = decode_all(chosen, dataclasses.replace(how, channels=data.shape[0], resolution=None))
    if len(kept) < len(data):
        data = data.subset(torch.tensor([partner_of[name] for name in kept]))
    sources = _enlarged(sources, data.shape, inputs.source)
    return dataclasses.replace(data, name=Path(targets.source).stem, sources=sources)


def _by_stem(files: Files) -> dict[str, str]:
    """Names without their endings -> names."""
    names: dict[str, str] = {}
    for name in files.names:
        if names.setdefault(_stem(name), name) != name:
            raise DataError(f"'{files.source}' holds '{names[_stem(name)]}' and '{name}': pairs need one of each name.")
    return names


def read_inputs(path: Path, shape: tuple[int, ...], skip_damaged: bool = False) -> tuple[list[str], Tensor]:
    """Source images alone, for a model to restore: their names, and uint8 images of the model's shape.

    Args:
        path: a folder, a zip or a tar; sizes may differ from image to image.
        shape: (c, h, w) of the model.
        skip_damaged: leave images out that cannot be read, instead of an error.

    Raises:
        DataError: where there are no images, or one does not fit the model.
    """
    files = open_files(path)
    if len(shape) != 3:
        raise DataError(f"the model makes points of shape {shape}, not images.")
    images, names = [], []
    for name, pixels in decode_each(files, Reading(shape[0], skip_damaged=skip_damaged)):
        images.append(enlarge(torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None], shape, name))
        names.append(name)
    return names, torch.cat(images)


def _stem(name: str) -> str:
    return str(PurePosixPath(name).with_suffix(""))


def _enlarged(sources: Values, shape: tuple[int, ...], name: str) -> Values:
    if isinstance(sources, Tensor):
        return enlarge(sources, shape, name)
    enlarge(torch.zeros(1, *sources.shape[1:], dtype=torch.uint8), shape, name)  # raises where they do not fit
    return Derived(sources, partial(enlarge, shape=shape, name=name), f"enlarged to {shape}", shape)


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
            f"source images of '{name}' are {width}x{height} with {channels} channel(s), the data is "
            f"{W}x{H} with {c}: needed are that size, or an integer fraction of it, and as many channels."
        )
    return F.interpolate(images.float(), size=(H, W), mode="nearest").to(torch.uint8)
