"""Samples as files, read back by Pillow."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from realuid.data.pixels import to_float
from realuid.data.writers import check_out, write_named, write_samples
from realuid.errors import ConfigError


def images(count: int, channels: int, height: int = 5, width: int = 7) -> torch.Tensor:
    random = torch.Generator().manual_seed(channels)
    return torch.randint(0, 256, (count, channels, height, width), generator=random, dtype=torch.uint8)


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (2, "LA"), (3, "RGB"), (4, "RGBA")])
def test_pillow_reads_the_pixels_and_the_kind(tmp_path: Path, channels: int, mode: str) -> None:
    x = images(3, channels)
    write_samples(to_float(x).split(2), tmp_path / "d.zip")
    with zipfile.ZipFile(tmp_path / "d.zip") as archive:
        for number, pixels in enumerate(x.permute(0, 2, 3, 1).numpy()):
            read = Image.open(io.BytesIO(archive.read(f"00000/img{number:08d}.png")))
            assert read.mode == mode and read.size == (7, 5)
            assert np.array_equal(np.asarray(read).reshape(pixels.shape), pixels)


def test_other_channels_are_refused_and_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="images of 5 channels cannot be written as PNG: allowed are 1 to 4"):
        write_samples([to_float(images(1, 5))], tmp_path / "d.zip")
    assert list(tmp_path.iterdir()) == []


def test_batches_are_asked_for_as_their_files_are_written(tmp_path: Path) -> None:
    """Of many samples only one batch is in memory: the files of one are written before the next one is made."""
    seen = []

    def batches():
        for _ in range(3):
            seen.append(len(list(tmp_path.rglob("*.png"))))
            yield to_float(images(2, 1))

    write_named(batches(), [f"{i}.jpg" for i in range(6)], tmp_path / "out")
    assert seen == [0, 2, 4]
    assert sorted(f.name for f in (tmp_path / "out").iterdir()) == [f"{i}.png" for i in range(6)]


@pytest.mark.parametrize("name", ["mine.zip", "mine.tar"])
def test_archives_of_others_are_never_replaced_and_our_own_are(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    with tarfile.open(path, "w") if path.suffix == ".tar" else zipfile.ZipFile(path, "w") as archive:
        (tmp_path / "notes.txt").write_text("mine")
        (archive.add if path.suffix == ".tar" else archive.write)(tmp_path / "notes.txt", "notes.txt")
    before, made = path.read_bytes(), []
    batches = (made.append(1) or to_float(images(2, 1)) for _ in range(2))
    with pytest.raises(ConfigError, match="is there already, without a mark of realuid"):
        write_samples(batches, path)
    assert path.read_bytes() == before and not made  # said before any sample was made
    path.unlink()
    for count in (1, 3):
        write_samples([to_float(images(count, 1))], path)
    with tarfile.open(path) if path.suffix == ".tar" else zipfile.ZipFile(path) as archive:
        read = archive.getnames() if path.suffix == ".tar" else archive.namelist()
    assert sum(member.endswith(".png") for member in read) == 3


@pytest.mark.parametrize("name", ["mine.zip", "mine.tar"])
def test_what_is_no_archive_is_never_replaced(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(gzip.compress(b"mine" * 100)[:12])
    with pytest.raises(ConfigError, match="without a mark of realuid"):
        write_samples([], tmp_path / name)


def test_a_folder_below_a_file_is_refused_before_samples_are_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ConfigError, match=r"file' is a file, so '.*out' cannot be written below it"):
        check_out(tmp_path / "file" / "out")


def test_a_folder_that_is_called_like_a_picture_is_refused_before_samples_are_made(tmp_path: Path) -> None:
    (tmp_path / "x.png").mkdir()
    made = []
    with pytest.raises(ConfigError, match="is a folder, but a file is to be written"):
        write_samples((made.append(1) or to_float(images(2, 1)) for _ in range(2)), tmp_path / "x.png")
    assert not made
