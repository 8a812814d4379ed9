"""Files that are read, left out, or never opened."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np
import pytest
from image_files import encoded, flat, levels, nothing_said, said, write

from realuid.cli.main import main
from realuid.data import load_dataset
from realuid.errors import DataError, DataWarning


def test_files_of_other_kinds_are_left_out_and_named(tmp_path: Path) -> None:
    others = {"notes.txt": b"hello", "README": b"hello", "a/notes.jsonl": b"{}", "b.eps": b"%!PS"}
    write(tmp_path, {"a/0.png": flat(0), "a/1.png": flat(1), **others})
    with said("4 files are left out", "'a/notes.jsonl', 'b.eps', 'notes.txt' and 1 more"):
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
