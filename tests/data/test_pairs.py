"""Pairs from files and from degradations."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from realuid.data import Dataset, degrade, load_dataset
from realuid.errors import DataError


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def levels(seed: int, size: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (size, size), dtype=np.uint8)


#: Names, targets of 8 x 8 and inputs of 4 x 4.
NAMES = ["a", "b", "deep/c"]
TARGETS = {name: levels(i, 8) for i, name in enumerate(NAMES)}
INPUTS = {name: levels(10 + i, 4) for i, name in enumerate(NAMES)}


def write(folder: Path, images: dict[str, np.ndarray]) -> Path:
    for name, pixels in images.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.png").write_bytes(png(pixels))
    return folder


def check(data: Dataset) -> None:
    assert data.values.shape == data.sources.shape == (3, 1, 8, 8) and data.num_classes == 0
    for i, name in enumerate(NAMES):
        assert np.array_equal(data.values[i, 0].numpy(), TARGETS[name])
        assert np.array_equal(data.sources[i, 0].numpy(), INPUTS[name].repeat(2, axis=0).repeat(2, axis=1))


def test_two_folders_of_equal_names(tmp_path: Path) -> None:
    targets, inputs = write(tmp_path / "t", TARGETS), write(tmp_path / "i", INPUTS)
    (inputs / "b.png").rename(inputs / "b.bmp")
    (inputs / "nobody.png").write_bytes(png(levels(0, 4)))
    check(load_dataset(str(targets), pairs=str(inputs)))


def test_a_folder_of_input_and_target(tmp_path: Path) -> None:
    write(tmp_path / "p" / "target", TARGETS)
    write(tmp_path / "p" / "input", INPUTS)
    check(load_dataset(str(tmp_path / "p")))


def test_a_zip_of_input_and_target_and_a_zip_each(tmp_path: Path) -> None:
    for archive, folders in (("both", ("input/", "target/")), ("input", ("",)), ("target", ("",))):
        with zipfile.ZipFile(tmp_path / f"{archive}.zip", "w") as file:
            for folder in folders:
                images = INPUTS if "input" in (folder[:-1], archive) else TARGETS
                for name, pixels in images.items():
                    file.writestr(f"{folder}{name}.png", png(pixels))
    check(load_dataset(str(tmp_path / "both.zip")))
    check(load_dataset(str(tmp_path / "target.zip"), pairs=str(tmp_path / "input.zip")))


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    targets, inputs = write(tmp_path / "t", TARGETS), write(tmp_path / "i", INPUTS)
    (inputs / "b.png").unlink()
    with pytest.raises(DataError, match=r"'b.png' of '.*t' has no partner of that name in '.*i'"):
        load_dataset(str(targets), pairs=str(inputs))
    odd = write(tmp_path / "odd", {name: levels(0, 5) for name in NAMES})
    with pytest.raises(DataError, match=r"source images of '.*odd' are 5x5 .*, the data is 8x8"):
        load_dataset(str(targets), pairs=str(odd))
    with pytest.raises(DataError, match=r"unknown kind of pairs 'sr-box-3'. Did you mean 'sr-box-"):
        load_dataset("digits", pairs="sr-box-3")
    with pytest.raises(DataError, match="made from images, but 'toy:moons' holds points"):
        load_dataset("toy:moons", pairs="jpeg-5")
    both = tmp_path / "both"
    write(both / "target", TARGETS)
    write(both / "input", INPUTS)
    with pytest.raises(DataError, match="holds pairs already"):
        load_dataset(str(both), pairs="jpeg-5")


def test_degraded_digits_keep_labels_and_their_order(digits) -> None:
    data = load_dataset("digits", pairs="sr-box-2")
    assert torch.equal(data.values, digits.values) and torch.equal(data.labels, digits.labels)
    assert data.degradation == "sr-box-2"
    mean = data.values[5, 0, 2:4, 4:6].double().mean().item()
    assert (data.sources[5, 0, 2:4, 4:6].double() - mean).abs().max() <= 0.5
    assert torch.equal(degrade(data.values, "sr-box-2"), data.sources)


def test_pairs_stay_together(digits) -> None:
    data = load_dataset("digits", pairs="inpaint-freeform")
    part = data.subset(torch.tensor([4, 2]))
    assert torch.equal(part.sources, data.sources[[4, 2]]) and torch.equal(part.values, data.values[[4, 2]])
    assert data.without_labels().sources is data.sources and data.without_labels().num_classes == 0
    assert data.fingerprint() == digits.fingerprint()  # classifiers and statistics of the values serve all pairs
    assert data.fingerprint(pairs=True) != digits.fingerprint(pairs=True) == digits.fingerprint()


def test_the_seed_of_pairs_is_for_degradations_that_draw(digits) -> None:
    usual, other = (load_dataset("digits", pairs="inpaint-freeform", pairs_seed=seed) for seed in (0, 7))
    assert (usual.degradation_seed, other.degradation_seed) == (0, 7)
    assert torch.equal(other.sources, degrade(digits.values, "inpaint-freeform", seed=7))
    different = (other.sources != usual.sources).flatten(1).any(dim=1).double().mean()
    assert different > 0.99  # of so few strokes on so few pixels some may cover the same
    with pytest.raises(DataError, match=r"pairs_seed = 7: pairs = sr-box-2 draws nothing at random, only inpaint-free"):
        load_dataset("digits", pairs="sr-box-2", pairs_seed=7)
    with pytest.raises(DataError, match="pairs_seed = 7: pairs = None draws nothing"):
        load_dataset("digits", pairs_seed=7)


def test_sources_must_be_like_the_values() -> None:
    with pytest.raises(DataError, match=r"pairs of 'x' do not match: \(4, 2\) torch.float32 values, \(3, 2\)"):
        Dataset(torch.zeros(4, 2), name="x", sources=torch.zeros(3, 2))
