"""Zips and tars of strangers."""

from __future__ import annotations

import io
import struct
import tarfile
import zipfile
from pathlib import Path

import pytest
import torch
from image_files import flat, levels, nothing_said, said, write_zip

from realuid.cli.main import main
from realuid.data import load_dataset
from realuid.data.writers import write_samples
from realuid.errors import DataError


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
