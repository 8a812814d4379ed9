"""What is read is what is there; what is left out or changed is said, with numbers."""

from __future__ import annotations

import io
import json
import os
import struct
import tarfile
import time
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

from realuid.cli.main import main
from realuid.data import Dataset, absolute_source, load_dataset
from realuid.data.writers import write_samples
from realuid.errors import DataError, DataWarning


def encoded(pixels: np.ndarray | Image.Image, form: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    (pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)).save(buffer, form, **options)
    return buffer.getvalue()


def flat(level: int, side: int = 4) -> bytes:
    return encoded(np.full((side, side), level, np.uint8))


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def write_zip(path: Path, files: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def levels(data: Dataset) -> list[int]:
    return data.values[:, 0, 0, 0].tolist()


@contextmanager
def said(*parts: str) -> Iterator[None]:
    """One DataWarning that holds all parts, and no other one."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    messages = [str(w.message) for w in caught if issubclass(w.category, DataWarning)]
    assert len(messages) == 1, messages
    for part in parts:
        assert part in messages[0]


@contextmanager
def nothing_said() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error", DataWarning)
        yield


# --- labels ---


@pytest.mark.parametrize("top", ["", "mydata/", "a/b/"])
@pytest.mark.parametrize("kind", ["zip", "folder"])
def test_labels_are_found_in_a_top_folder(tmp_path: Path, top: str, kind: str) -> None:
    names = [f"00000/img{i:08d}.png" for i in range(6)]
    listing = json.dumps({"labels": [[name, i % 3] for i, name in enumerate(names)]}).encode()
    files = {top + name: flat(i) for i, name in enumerate(names)} | {f"{top}dataset.json": listing}
    path = write_zip(tmp_path / "d.zip", files) if kind == "zip" else write(tmp_path / "d", files)
    with nothing_said():
        data = load_dataset(str(path))
    assert levels(data) == [0, 1, 2, 3, 4, 5] and data.labels.tolist() == [0, 1, 2, 0, 1, 2]


def test_a_listing_that_does_not_cover_all_images_is_named(tmp_path: Path) -> None:
    listing = json.dumps({"labels": [["0.png", 1], ["1.png", 0]]}).encode()
    write(tmp_path, {"x/0.png": flat(0), "x/1.png": flat(1), "2.png": flat(2), "x/dataset.json": listing})
    with said("'x/dataset.json'"):
        assert load_dataset(str(tmp_path)).labels is None


def test_labels_without_an_image_are_counted(tmp_path: Path) -> None:
    listing = json.dumps({"labels": [["0.png", 1], ["1.png", 0], ["gone.png", 0]]}).encode()
    write(tmp_path, {"0.png": flat(0), "1.png": flat(1), "dataset.json": listing})
    with said("1 of 3 labels"):
        assert load_dataset(str(tmp_path)).labels.tolist() == [1, 0]


@pytest.mark.parametrize("kind", ["zip", "folder"])
def test_folders_give_classes_their_names_in_the_order_of_numbers(tmp_path: Path, kind: str) -> None:
    files = {f"{number}/a.png": flat(20 * number) for number in range(12)}
    path = write_zip(tmp_path / "d.zip", files) if kind == "zip" else write(tmp_path / "d", files)
    data = load_dataset(str(path))
    assert data.classes == tuple(map(str, range(12)))
    assert sorted(zip(levels(data), data.labels.tolist(), strict=True)) == [(20 * i, i) for i in range(12)]


def test_names_of_classes_with_numbers_in_them_sort_by_value(tmp_path: Path) -> None:
    write(tmp_path, {f"{name}/a.png": flat(i) for i, name in enumerate(["c10", "c2", "b", "c²"])})
    data = load_dataset(str(tmp_path))
    assert data.classes == ("b", "c2", "c10", "c²")
    assert [levels(data)[data.labels.tolist().index(k)] for k in range(4)] == [2, 1, 0, 3]


@pytest.mark.parametrize("names", [["images/0.png", "images/1.png"], ["a/b/0.png", "a/b/1.png"]])
def test_one_class_is_no_label(tmp_path: Path, names: list[str]) -> None:
    write(tmp_path, {name: flat(i) for i, name in enumerate(names)})
    assert load_dataset(str(tmp_path)).labels is None


def test_classes_below_one_top_folder_are_found(tmp_path: Path) -> None:
    write(tmp_path, {"top/cat/0.png": flat(0), "top/dog/0.png": flat(1)})
    assert load_dataset(str(tmp_path)).classes == ("cat", "dog")


def test_one_stray_image_does_not_drop_all_labels(tmp_path: Path) -> None:
    write(tmp_path, {f"{'cat' if i % 2 else 'dog'}/{i}.png": flat(i) for i in range(20)} | {"stray.png": flat(99)})
    with said("1 of 21 images are left out", "'stray.png'", "2 classes"):
        data = load_dataset(str(tmp_path))
    assert len(data) == 20 and data.classes == ("cat", "dog") and 99 not in levels(data)


def test_many_images_beside_folders_have_no_label_and_this_is_said(tmp_path: Path) -> None:
    write(tmp_path, {"a/0.png": flat(0), "b/1.png": flat(1), "2.png": flat(2)})
    with said("1 of 3 images lie beside the 2 folders"):
        data = load_dataset(str(tmp_path))
    assert len(data) == 3 and data.labels is None


def test_splits_of_a_data_set_are_no_classes(tmp_path: Path) -> None:
    write(tmp_path, {"train/cat/0.png": flat(0), "val/cat/1.png": flat(1)})
    with pytest.raises(DataError, match="holds train, val, which look like parts of a data set"):
        load_dataset(str(tmp_path))


def test_folders_of_the_edm_layout_are_no_classes(tmp_path: Path) -> None:
    numbers = (0, 999, 1000, 1999, 2000)
    write(tmp_path, {f"{n // 1000:05d}/img{n:08d}.png": flat(i) for i, n in enumerate(numbers)})
    with nothing_said():
        assert load_dataset(str(tmp_path)).labels is None


def test_classes_without_images_are_named(tmp_path: Path) -> None:
    listing = json.dumps({"labels": [["0.png", 1], ["1.png", 3]]}).encode()
    write(tmp_path, {"0.png": flat(0), "1.png": flat(1), "dataset.json": listing})
    with said("2 of 4 classes have no image", "'0', '2'"):
        assert load_dataset(str(tmp_path)).num_classes == 4


def test_names_of_classes_reach_the_commands(tmp_path: Path, monkeypatch, capsys) -> None:
    """Trained on folders; a student knows the names; info shows how many images each has."""
    write(tmp_path / "d", {f"{'cat' if i % 4 else 'dog'}/{i:02d}.png": flat(i, 8) for i in range(12)})
    monkeypatch.chdir(tmp_path)
    small = ("--network.channels", "8", "8", "--network.blocks", "1", "--network.attention-at")
    train = ("--data.source", "d", "--data.conditional", "--updates", "1", "--batch", "4", "--sample-every", "0")
    assert main(["train", "digits", *small, *train, "--evaluate-every", "0", "--out", "run"]) == 0
    config = json.loads(Path("run/model/config.json").read_text())
    assert config["classes"] == ["cat", "dog"]
    assert main(["sample", "run/model", "--classes", "dog", "--count", "3", "--steps", "1", "--out", "s.zip"]) == 0
    with zipfile.ZipFile("s.zip") as archive:
        assert [label for _, label in json.loads(archive.read("dataset.json"))["labels"]] == [1, 1, 1]
    assert main(["sample", "run/model", "--classes", "dgo", "--out", "t.zip"]) == 2
    assert "--classes dgo: unknown class 'dgo'. Did you mean 'dog'?" in capsys.readouterr().err
    assert main(["info", "d"]) == 0
    assert "2 classes (cat 9, dog 3)" in capsys.readouterr().out


def test_a_model_is_not_measured_on_classes_in_another_order(tmp_path: Path) -> None:
    from realuid import Teacher
    from realuid.errors import ConfigError
    from realuid.training.compatibility import check_fits

    model = Teacher(torch.nn.Linear(2, 2), (1, 4, 4), num_classes=2)
    model.class_names = ("cat", "dog")
    values, labels = torch.zeros(4, 1, 4, 4, dtype=torch.uint8), torch.tensor([0, 1, 0, 1])
    check_fits(model, Dataset(values, labels, classes=("cat", "dog")))
    check_fits(model, Dataset(values, labels, classes=("0", "1")))  # no names of their own
    with pytest.raises(ConfigError, match="class 0 of the model is 'cat', of the data 'dog'"):
        check_fits(model, Dataset(values, labels, classes=("dog", "cat")))


# --- pixels ---


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
    before, start = psutil.Process().memory_info().rss, time.perf_counter()
    with pytest.raises(DataError, match=r"2 of 2 .*pixels.*at most 50,331,648 pixels are read"):
        load_dataset(str(tmp_path / "d.zip"), resolution=64)
    assert time.perf_counter() - start < 5
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


# --- files ---


def test_files_of_other_kinds_are_left_out_and_named(tmp_path: Path) -> None:
    others = {"notes.txt": b"hello", "README": b"hello", "a/metadata.jsonl": b"{}", "b.eps": b"%!PS"}
    write(tmp_path, {"a/0.png": flat(0), "a/1.png": flat(1), **others})
    with said("4 files are left out", "'a/metadata.jsonl', 'b.eps', 'notes.txt' and 1 more"):
        assert levels(load_dataset(str(tmp_path))) == [0, 1]


def test_images_without_an_ending_are_read(tmp_path: Path) -> None:
    write(tmp_path, {"0": flat(0), "1": encoded(np.full((4, 4), 1, np.uint8), "BMP")})
    with nothing_said():
        assert levels(load_dataset(str(tmp_path))) == [0, 1]


def test_damaged_images_are_named_all_at_once_and_can_be_left_out(tmp_path: Path) -> None:
    files = {f"{'cat' if i < 3 else 'dog'}/{i}.png": flat(i) for i in range(6)}
    files |= {"cat/0.png": flat(0)[:40], "dog/4.png": b"not an image"}
    write(tmp_path, files)
    with pytest.raises(
        DataError, match=r"2 of 6 images .*'cat/0.png' \(damaged.*'dog/4.png' \(damaged, or none.*skip-damaged"
    ):
        load_dataset(str(tmp_path))
    with said("2 of 6 images are left out", "'cat/0.png'", "'dog/4.png'"):
        data = load_dataset(str(tmp_path), skip_damaged=True)
    assert levels(data) == [1, 2, 3, 5] and data.labels.tolist() == [0, 0, 1, 1]


def test_a_pair_is_left_out_where_either_image_is_damaged(tmp_path: Path) -> None:
    files = {f"{folder}/{i}.png": flat(10 * k + i) for k, folder in enumerate(("target", "input")) for i in range(4)}
    files |= {"target/1.png": b"no", "input/2.png": b"no"}
    write(tmp_path / "pairs", files)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        data = load_dataset(str(tmp_path / "pairs"), skip_damaged=True)
    assert levels(data) == [0, 3] and data.sources[:, 0, 0, 0].tolist() == [10, 13]


def test_sizes_that_differ_are_counted_and_the_option_is_named(tmp_path: Path) -> None:
    write(tmp_path, {f"{i}.png": flat(i, 4 if i < 3 else 6) for i in range(4)})
    with pytest.raises(DataError, match=r"3 are 4x4 with 1 channel \('0.png'\), 1 is 6x6 .*\(--data.resolution\)"):
        load_dataset(str(tmp_path))


def test_no_program_is_started_for_postscript_in_disguise(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / "gs"
    script.write_text(f"#!/bin/sh\ntouch {tmp_path}/called\nexit 1\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    write(
        tmp_path / "d", {"a.png": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"}
    )
    with pytest.raises(DataError, match=r"'a.png' \(damaged, or none of PNG, JPEG"):
        load_dataset(str(tmp_path / "d"))
    assert not (tmp_path / "called").exists()


@pytest.mark.parametrize("content", [b"FITS", b"\x00\x00\x01\x00", b"8BPS\x00\x01", b"BUFR"])
def test_other_formats_that_pillow_knows_are_refused(tmp_path: Path, content: bytes) -> None:
    write(tmp_path, {"a.png": content + bytes(100)})
    with pytest.raises(DataError, match=r"'a.png' \(damaged, or none of PNG, JPEG"):
        load_dataset(str(tmp_path))


def test_pipes_and_devices_are_never_opened(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "d", {"a.png": flat(1)})
    os.mkfifo(tmp_path / "d" / "b.png")
    os.mkfifo(tmp_path / "d" / "dataset.json")
    with said("2 files are left out", "'b.png'", "'dataset.json'"):
        assert levels(load_dataset(str(tmp_path / "d"))) == [1]
    os.mkfifo(tmp_path / "pipe")
    for source in (tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(DataError, match="neither a folder nor a file, but a device, a pipe or a socket"):
            load_dataset(str(source))
        assert main(["info", str(source)]) == 2
        assert "not a regular file" in capsys.readouterr().err


def test_links_are_followed_and_circles_end(tmp_path: Path) -> None:
    """Class folders that are links are how subsets are made; a link to nothing is a damaged image."""
    real = write(tmp_path / "real", {"cat/0.png": flat(0), "dog/1.png": flat(1)})
    folder = tmp_path / "d"
    folder.mkdir()
    (folder / "cat").symlink_to(real / "cat")
    (folder / "dog").mkdir()
    (folder / "dog" / "1.png").symlink_to(real / "dog" / "1.png")
    (folder / "dog" / "again").symlink_to(folder)
    with said("1 files are left out", "'dog/again'"):
        data = load_dataset(str(folder))
    assert levels(data) == [0, 1] and data.classes == ("cat", "dog")
    (folder / "dog" / "again").unlink()
    (folder / "dog" / "2.png").symlink_to(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"'dog/2.png' \(a link to nothing\)"):
        load_dataset(str(folder))


# --- archives ---


def test_plain_names_of_a_zip(tmp_path: Path) -> None:
    """'.', './x' and backslashes, as various programs write them."""
    write_zip(tmp_path / "d.zip", {"./cat/0.png": flat(0), "dog\\1.png": flat(1), ".": b""})
    data = load_dataset(str(tmp_path / "d.zip"))
    assert levels(data) == [0, 1] and data.classes == ("cat", "dog")


@pytest.mark.parametrize("name", ["../a.png", "/a.png", "x/../../a.png", "C:/a.png", "..\\a.png"])
def test_names_that_lead_outside_are_refused(tmp_path: Path, name: str) -> None:
    write_zip(tmp_path / "d.zip", {"b.png": flat(0), name: flat(1)})
    with pytest.raises(DataError, match="leads outside"):
        load_dataset(str(tmp_path / "d.zip"))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "d.zip", "w") as archive:
        archive.writestr("a.png", flat(0))
        archive.writestr("a.png", flat(1))
    with pytest.raises(DataError, match=r"two files called 'a.png'"):
        load_dataset(str(tmp_path / "d.zip"))


def damaged_zips() -> dict[str, bytes]:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.png", flat(1))
    whole = buffer.getvalue()
    directory = whole.index(b"PK\1\2")

    def changed(offset: int, content: bytes) -> bytes:
        return whole[:offset] + content + whole[offset + len(content) :]

    name = whole.index(b"a.png", directory)
    utf8 = changed(directory + 8, struct.pack("<H", 0x800))
    return {
        "signature of the directory": changed(directory, b"XXXX"),
        "version": changed(directory + 6, struct.pack("<H", 99)),
        "length of extra fields": changed(directory + 30, struct.pack("<H", 9999)),
        "length of the name": changed(directory + 28, struct.pack("<H", 60000)),
        "names not UTF-8": utf8[:name] + b"\xff\xfe.pn" + utf8[name + 5 :],
        "offset of the directory": changed(len(whole) - 6, struct.pack("<I", 2**31)),
        "compression": changed(directory + 10, struct.pack("<H", 77)),
        "cut": whole[: len(whole) - 10],
        "empty": b"",
    }


@pytest.mark.parametrize("kind", damaged_zips())
def test_a_damaged_zip_is_one_line(tmp_path: Path, kind: str) -> None:
    """Or what is in it is read all the same, where the damage does not touch it."""
    (tmp_path / "d.zip").write_bytes(damaged_zips()[kind])
    try:
        assert levels(load_dataset(str(tmp_path / "d.zip"))) == [1]
    except DataError as error:
        assert any(part in str(error) for part in ("not a whole zip file", "'a.png' (damaged", "holds no images"))
        assert main(["info", str(tmp_path / "d.zip")]) == 2
    else:
        assert main(["info", str(tmp_path / "d.zip")]) == 0


def test_what_is_written_as_tar_reads_back(tmp_path: Path) -> None:
    x, labels = torch.rand(5, 3, 4, 6) * 2 - 1, torch.tensor([1, 0, 2, 0, 1])
    for name, given in (("labelled.tar", labels), ("plain.tar", None)):
        write_samples(iter(x.split(2)), tmp_path / name, given)
        with nothing_said():
            data = load_dataset(str(tmp_path / name))
        assert torch.equal(data.values, ((x + 1) * 127.5).round().to(torch.uint8))
        assert (data.labels is None) if given is None else torch.equal(data.labels, labels)


def tar(path: Path, files: dict[str, bytes], links: dict[str, str] | None = None) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        for name, target in (links or {}).items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            archive.addfile(entry)
    return path


def test_tars_with_links_gaps_and_damage(tmp_path: Path) -> None:
    path = tar(tmp_path / "a.tar", {"0.png": flat(0)}, {"1.png": "/etc/passwd"})
    with said("1 files are left out", "'1.png'"):
        assert levels(load_dataset(str(path))) == [0]
    with pytest.raises(DataError, match=r"no .cls file beside '1.png'"):
        load_dataset(str(tar(tmp_path / "b.tar", {"0.png": flat(0), "0.cls": b"1", "1.png": flat(1)})))
    with pytest.raises(DataError, match=r".cls file of '0.png' .* no whole number"):
        load_dataset(str(tar(tmp_path / "c.tar", {"0.png": flat(0), "0.cls": b"cat"})))
    with pytest.raises(DataError, match="leads outside"):
        load_dataset(str(tar(tmp_path / "d.tar", {"../0.png": flat(0)})))
    (tmp_path / "e.tar").write_bytes(path.read_bytes()[:700])
    with pytest.raises(DataError, match=r"not a whole tar file|'0.png' \(damaged"):
        load_dataset(str(tmp_path / "e.tar"))


# --- sources by name ---


def test_a_folder_called_digits_is_read_and_this_is_said(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert len(load_dataset("digits")) == 1797
    write(tmp_path / "digits", {f"{i}.png": flat(i) for i in range(7)})
    with said("'digits' is read from the folder ./digits", "'sklearn:digits'"):
        assert len(load_dataset("digits")) == 7
    assert len(load_dataset("sklearn:digits")) == 1797
    assert absolute_source("digits") == str(tmp_path / "digits")
    (tmp_path / "digits" / "recipe.yaml").write_text("name: digits")  # a run that was written to ./digits
    with nothing_said():
        assert len(load_dataset("digits")) == 1797
    assert absolute_source("digits") == "digits"


def hugging_face(folder: Path, columns: dict[str, list], features: dict | None = None) -> str:
    datasets = pytest.importorskip("datasets", reason="needs the extra realuid[data]")
    kinds = {"img": datasets.Image(), **(features or {})}
    rows = {"img": [{"bytes": flat(i), "path": None} for i in range(4)], **columns}
    datasets.Dataset.from_dict(rows, features=datasets.Features(kinds)).save_to_disk(str(folder))
    return f"hf:{folder}"


def test_columns_that_are_passed_over_are_named_and_can_be_chosen(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="needs the extra realuid[data]")
    fine = datasets.ClassLabel(names=["a", "b", "c", "d"])
    coarse = datasets.ClassLabel(names=["x", "y"])
    columns = {"fine": [0, 1, 2, 3], "coarse": [0, 0, 1, 1], "caption": ["p", "q", "p", "p"], "n": [7, 5, 5, 7]}
    kinds = {"fine": fine, "coarse": coarse, "caption": datasets.Value("string"), "n": datasets.Value("int64")}
    source = hugging_face(tmp_path / "hf", columns, kinds)
    with said("labels are read from column 'fine'", "'coarse'", "label=coarse"):
        assert load_dataset(source).classes == ("a", "b", "c", "d")
    with nothing_said():
        assert load_dataset(f"{source}?label=coarse").labels.tolist() == [0, 0, 1, 1]
        assert load_dataset(f"{source}?label=caption").classes == ("p", "q")
        assert load_dataset(f"{source}?label=n").labels.tolist() == [1, 0, 0, 1]
        assert load_dataset(f"{source}?label=n").classes == ("5", "7")
    with pytest.raises(DataError, match=r"no column label = cat. Columns are 'img', 'fine'"):
        load_dataset(f"{source}?label=cat")
    with pytest.raises(DataError, match="image=COLUMN, label=COLUMN"):
        load_dataset(f"{source}?labels=fine")


def test_labels_that_are_no_class_column_are_named(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="needs the extra realuid[data]")
    source = hugging_face(tmp_path / "hf", {"label": [3, 4, 3, 4]}, {"label": datasets.Value("int64")})
    with said("labels are read from no column", "'label'"):
        assert load_dataset(source).labels is None


def test_a_folder_with_metadata_is_read_by_the_hubs_loader(tmp_path: Path) -> None:
    pytest.importorskip("datasets", reason="needs the extra realuid[data]")
    rows = [{"file_name": f"{i}.png", "kind": "ab"[i % 2]} for i in range(3)]
    lines = "\n".join(map(json.dumps, rows)).encode()
    write(tmp_path / "d", {f"{i}.png": flat(i) for i in range(3)} | {"metadata.jsonl": lines})
    data = load_dataset(f"hf:{tmp_path / 'd'}?label=kind")
    assert levels(data) == [0, 1, 2] and data.classes == ("a", "b") and data.labels.tolist() == [0, 1, 0]


# --- data made by hand ---

IMAGES = torch.randint(0, 256, (6, 1, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Dataset(IMAGES, torch.arange(6)), "labels, but no classes"),
        (lambda: Dataset(IMAGES, classes=("a", "b")), "2 classes, but no labels"),
        (lambda: Dataset(IMAGES.long()), "values are torch.int64"),
        (lambda: Dataset(IMAGES.double()), "values are torch.float64"),
        (lambda: Dataset(IMAGES.half()), "values are torch.float16"),
        (lambda: Dataset(IMAGES.float()), r"float images from 1 to 254, which look like levels"),
        (lambda: Dataset(IMAGES[0]), r"uint8 images of shape \(1, 4, 4\)"),
        (lambda: Dataset(torch.zeros(6, 1, 4)), r"values of shape \(6, 1, 4\)"),
        (lambda: Dataset(IMAGES.numpy()), "values are a ndarray"),
        (lambda: Dataset(torch.full((6, 2), float("nan"))), "6 of 6 samples hold NaN"),
        (lambda: Dataset(IMAGES, torch.arange(5), classes="abcdef"), r"labels of 'data' have shape \(5,\)"),
        (lambda: Dataset(IMAGES, torch.zeros(6, 1).long(), classes="a"), r"labels of 'data' have shape \(6, 1\)"),
        (lambda: Dataset(IMAGES, torch.arange(6), classes="ab"), "labels of 'data' are 0 to 5, but there are 2"),
        (lambda: Dataset(IMAGES, torch.arange(6) - 1, classes="abcdef"), "labels of 'data' are -1 to 4"),
        (lambda: Dataset(IMAGES, torch.rand(6), classes="ab"), "labels of 'data' are torch.float32"),
        (lambda: Dataset(IMAGES, torch.ones(6).bool(), classes="ab"), "labels of 'data' are torch.bool"),
    ],
)
def test_data_made_by_hand_is_checked(make, says: str) -> None:
    with pytest.raises(DataError, match=says):
        make()


def test_whole_numbers_of_any_kind_are_labels() -> None:
    for kind in (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64):
        labels = Dataset(IMAGES, torch.arange(6).to(kind), classes="abcdef").labels
        assert labels.dtype == torch.int64 and labels.tolist() == [0, 1, 2, 3, 4, 5]


def test_float_images_between_0_and_1_are_doubted() -> None:
    with said("all float values are between 0 and 1"):
        Dataset(torch.rand(6, 1, 4, 4))
    with nothing_said():
        Dataset(torch.rand(6, 1, 4, 4) * 2 - 1)
        Dataset(torch.rand(6, 2))  # points
