"""Own PNG files, read back by Pillow."""

from __future__ import annotations

import io
import threading

import numpy as np
import pytest
import torch
from PIL import Image

from realuid.data import png
from realuid.errors import ConfigError


def images(count: int, channels: int, height: int = 5, width: int = 7) -> torch.Tensor:
    random = torch.Generator().manual_seed(channels)
    return torch.randint(0, 256, (count, channels, height, width), generator=random, dtype=torch.uint8)


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (2, "LA"), (3, "RGB"), (4, "RGBA")])
def test_pillow_reads_the_pixels_and_the_kind(channels: int, mode: str) -> None:
    x = images(3, channels)
    for pixels, file in zip(x.permute(0, 2, 3, 1).numpy(), png.encode(x), strict=True):
        Image.open(io.BytesIO(file)).verify()  # checksums of all chunks
        read = Image.open(io.BytesIO(file))
        assert read.mode == mode and read.size == (7, 5)
        assert np.array_equal(np.asarray(read).reshape(pixels.shape), pixels)


def test_smooth_images_become_small() -> None:
    """A vertical ramp differs from row to row by ones: next to nothing is left."""
    ramp = torch.arange(64, dtype=torch.uint8).view(1, 1, 64, 1).expand(1, 3, 64, 64)
    assert len(png.encode(ramp)[0]) < 300 < ramp.numel() / 40


def test_other_channels_are_refused() -> None:
    with pytest.raises(ConfigError, match="images of 5 channels cannot be written as PNG: allowed are 1 to 4"):
        png.encode(images(1, 5))


@pytest.mark.parametrize("threads", [1, 3])
def test_many_threads_keep_the_order(threads: int, monkeypatch) -> None:
    monkeypatch.setattr(png, "_PART", 4 * 105)  # parts of four images
    x = images(101, 3)
    assert list(png.encode_all(x.split(17), threads)) == png.encode(x)
    assert list(png.encode_all(iter([]), threads)) == []


def test_few_images_wait_at_a_time(monkeypatch) -> None:
    """Batches are asked for only as files are taken: never more than twice as many parts as threads ahead."""
    monkeypatch.setattr(png, "_PART", 1)
    made = []

    def batches():
        for i in range(50):
            made.append(i)
            yield images(1, 1)

    for taken, _ in enumerate(png.encode_all(batches(), threads=2)):
        assert len(made) <= taken + 4
    assert len(made) == 50


def test_an_error_of_a_batch_reaches_the_reader_and_leaves_no_thread() -> None:
    def batches():
        yield images(2, 1)
        raise RuntimeError("no more")

    before = threading.active_count()
    with pytest.raises(RuntimeError, match="no more"):
        list(png.encode_all(batches(), threads=2))
    assert threading.active_count() == before
