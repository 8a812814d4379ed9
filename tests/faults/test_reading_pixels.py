"""Pixels are what is there; what is changed or refused is said, with numbers."""

from __future__ import annotations

import struct
import time
import zipfile
import zlib
from pathlib import Path

import numpy as np
import psutil
import pytest
from image_files import encoded, flat, nothing_said, said, write, write_zip
from PIL import Image

from realuid.data import load_dataset
from realuid.errors import DataError


def test_transparent_pixels_are_read_on_white(tmp_path: Path) -> None:
    alpha = np.zeros((4, 4), np.uint8)
    alpha[1, 1], alpha[2, 2] = 255, 51
    colour = np.full((4, 4, 3), (255, 0, 255), np.uint8)
    palette = Image.fromarray(alpha // 255).convert("P")
    palette.putpalette([255, 0, 255, 255, 255, 255] + [0] * 762)
    write(
        tmp_path,
        {"rgba.png": encoded(np.dstack([colour, alpha])), "palette.png": encoded(palette, transparency=0)},
    )
    with said("2 of 2 images have transparent pixels", "white"):
        data = load_dataset(str(tmp_path))
    assert data.values[:, :, 0, 0].tolist() == [[255, 255, 255]] * 2
    assert data.values[1, :, 1, 1].tolist() == [255, 0, 255]
    assert data.values[1, :, 2, 2].tolist() == [255, 204, 255]  # a fifth of the colour


def test_grey_with_transparency_stays_grey(tmp_path: Path) -> None:
    pixels = np.dstack([np.full((4, 4), 100, np.uint8), np.full((4, 4), 255, np.uint8)])
    pixels[0, 0, 1] = 0
    write(tmp_path, {"a.png": encoded(Image.fromarray(pixels, "LA"))})
    with said("1 of 1 images have transparent"):
        assert load_dataset(str(tmp_path)).values[0, :, 0].tolist() == [[255, 100, 100, 100]]


def test_opaque_alpha_is_no_news(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 4, 4), dtype=np.uint8)
    pixels[..., 3] = 255
    write(tmp_path, {"a.png": encoded(pixels)})
    with nothing_said():
        assert np.array_equal(load_dataset(str(tmp_path)).values[0].permute(1, 2, 0).numpy(), pixels[..., :3])


def test_deep_images_keep_their_upper_bits_and_this_is_said(tmp_path: Path) -> None:
    deep = np.array([[0, 255, 256, 32768, 65535]], np.uint16)
    write(tmp_path, {"a.png": encoded(deep), "b.tif": encoded(deep, "TIFF"), "c.pgm": encoded(deep, "PPM")})
    with said("3 of 3 images have 16 bits"):
        values = load_dataset(str(tmp_path)).values
    assert values.flatten(1).tolist() == [[0, 0, 1, 128, 255]] * 3


@pytest.mark.parametrize("kind", [np.float32, np.int32])
def test_pixels_of_unknown_range_are_refused(tmp_path: Path, kind: type) -> None:
    write(tmp_path, {"a.tif": encoded(np.array([[0, 1, 100000]], kind), "TIFF")})
    with pytest.raises(DataError, match=r"'a.tif' \(pixels of 32 bits, whose range is not known"):
        load_dataset(str(tmp_path))


@pytest.mark.parametrize(("form", "ending"), [("GIF", "gif"), ("TIFF", "tif"), ("WEBP", "webp"), ("PNG", "png")])
def test_of_several_frames_the_first_is_read_and_this_is_said(tmp_path: Path, form: str, ending: str) -> None:
    first, second = Image.new("RGB", (4, 4), "black"), Image.new("RGB", (4, 4), "white")
    content = encoded(first, form, save_all=True, append_images=[second])
    write(tmp_path, {f"a.{ending}": content})
    with said("1 of 1 images have several frames"):
        assert load_dataset(str(tmp_path)).values.max() < 5


def big_png(width: int, height: int) -> bytes:
    """A black RGB image whose header claims a size; its pixels would be inflated as far as they are asked for."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(bytes(10**6))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(8000, 8000), (20000, 10000)])
def test_huge_images_are_refused_before_they_are_decoded(tmp_path: Path, size: tuple[int, int]) -> None:
    write_zip(tmp_path / "d.zip", {f"{i}.png": big_png(*size) for i in range(2)})
    before, start = psutil.Process().memory_info().rss, time.process_time()
    with pytest.raises(DataError, match=r"2 of 2 .*pixels.*at most 50,331,648 pixels are read"):
        load_dataset(str(tmp_path / "d.zip"), resolution=64)
    assert time.process_time() - start < 5
    assert psutil.Process().memory_info().rss - before < 100 * 2**20


def test_a_large_photograph_is_reduced_while_it_is_decoded(tmp_path: Path) -> None:
    write(tmp_path, {"a.jpg": encoded(Image.new("L", (12000, 6000), 77), "JPEG")})  # 72 million pixels
    assert load_dataset(str(tmp_path), resolution=32).values.unique().tolist() == [77]


def test_an_entry_larger_than_any_image_is_not_inflated(tmp_path: Path) -> None:
    write_zip(tmp_path / "d.zip", {"a.png": bytes(17 * 2**24)}, zipfile.ZIP_DEFLATED)
    before = psutil.Process().memory_info().rss
    with pytest.raises(DataError, match=r"'a.png' \(285,212,672 bytes, at most 268,435,456 are read\)"):
        load_dataset(str(tmp_path / "d.zip"))
    assert psutil.Process().memory_info().rss - before < 2**26


def test_more_images_than_memory_are_refused_with_the_numbers(tmp_path: Path, monkeypatch) -> None:
    write(tmp_path, {"a.png": flat(1), "b.png": flat(2)})
    monkeypatch.setattr("psutil.virtual_memory", lambda: type("Memory", (), {"available": 31}))
    with pytest.raises(DataError, match=r"the 2 images .* 4x4 with 1 channel\(s\), take .* GiB.*--data.resolution"):
        load_dataset(str(tmp_path))
