"""Files are whole or absent, whatever happens half-way."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import threading
from pathlib import Path

import pytest
from conftest import small_teacher

from realuid.errors import ConfigError, StorageError
from realuid.exports import export_student
from realuid.files import (
    atomic_file,
    atomic_folder,
    check_writable,
    damage,
    sha256,
    to_json,
    write_checksums,
    write_json,
)
from realuid.leftovers import repair, temporary_name
from realuid.models import Generator, save_pretrained


def fill(folder: Path, name: str) -> None:
    """Write a folder with one file, as models and checkpoints are written."""
    with atomic_folder(folder) as temporary:
        (temporary / name).write_text(name)
        write_checksums(temporary)


def names(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


def test_a_file_appears_whole_with_its_folders(tmp_path: Path) -> None:
    with atomic_file(tmp_path / "a" / "b.txt") as temporary:
        temporary.write_text("half")
        assert not (tmp_path / "a" / "b.txt").exists()
    assert names(tmp_path) == ["a", "a/b.txt"] and (tmp_path / "a" / "b.txt").read_text() == "half"


def test_a_failure_half_way_leaves_the_old_file(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"old": 1})
    with pytest.raises(RuntimeError), atomic_file(tmp_path / "a.json") as temporary:
        temporary.write_text("half")
        raise RuntimeError
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"new": object()})
    assert names(tmp_path) == ["a.json"] and json.loads((tmp_path / "a.json").read_text()) == {"old": 1}


def test_a_failure_half_way_leaves_the_old_folder(tmp_path: Path) -> None:
    fill(tmp_path / "f", "old")
    with pytest.raises(RuntimeError), atomic_folder(tmp_path / "f") as temporary:
        (temporary / "new").write_text("2")
        raise RuntimeError
    assert names(tmp_path) == ["f", "f/checksums.json", "f/old"]


def test_a_new_folder_replaces_the_old_one_as_a_whole(tmp_path: Path) -> None:
    for name in ("old", "new"):
        fill(tmp_path / "f", name)
    assert names(tmp_path) == ["f", "f/checksums.json", "f/new"]


def left_by_a_killed_process(target: Path, kind: str) -> Path:
    """The name that a process of this host, which is gone, gave its temporary."""
    process = subprocess.Popen(["true"])
    process.wait()
    name = re.sub(r"\d+-(\w{8})\w{8}", rf"{process.pid}-\g<1>00000000", temporary_name(target, kind).name)
    return target.with_name(name)


def test_a_failure_while_the_folder_takes_its_name_loses_nothing(tmp_path: Path) -> None:
    """The worst moment of a kill: the old folder moved aside, the new one not yet there."""
    fill(tmp_path / "f", "old")
    (tmp_path / "f").rename(left_by_a_killed_process(tmp_path / "f", "old"))
    new = left_by_a_killed_process(tmp_path / "f", "tmp")
    new.mkdir()
    (new / "new").write_text("2")
    left_by_a_killed_process(tmp_path / "g.json", "tmp").write_text("half")
    (tmp_path / ".hidden").write_text("somebody else's")
    repair(tmp_path)
    assert names(tmp_path) == [".hidden", "f", "f/checksums.json", "f/old"]


def test_repair_removes_what_was_replaced(tmp_path: Path) -> None:
    fill(tmp_path / "f", "new")
    fill(left_by_a_killed_process(tmp_path / "f", "old"), "old")
    repair(tmp_path)
    assert names(tmp_path) == ["f", "f/checksums.json", "f/new"]


def test_repair_leaves_what_others_write(tmp_path: Path) -> None:
    """A user's own file of such a name, the temporary of a process that still runs, and one of another host."""
    living = [temporary_name(tmp_path / "a", "tmp"), tmp_path / temporary_name(tmp_path / "b", "tmp").name]
    elsewhere = re.sub(r"-\w{8}", "-00000000", temporary_name(tmp_path / "c", "tmp").name)
    for path in (tmp_path / ".x.123.tmp", *living, tmp_path / elsewhere):
        path.write_text("precious")
    before = names(tmp_path)
    repair(tmp_path)
    assert names(tmp_path) == before and len(before) == 4
    os.utime(tmp_path / elsewhere, (0, 0))  # long after its process can have ended
    repair(tmp_path)
    assert names(tmp_path) == sorted(set(before) - {elsewhere})


def test_writing_a_target_removes_what_killed_writers_of_it_left(tmp_path: Path) -> None:
    for name in ("a.zip", "other.zip"):
        left_by_a_killed_process(tmp_path / name, "tmp").write_text("half")
    with atomic_file(tmp_path / "a.zip") as temporary:
        temporary.write_text("whole")
    assert [name[:10] for name in names(tmp_path)] == [".other.zip", "a.zip"]


@pytest.mark.parametrize("harm", ["none", "cut", "missing", "list"])
def test_checksums_tell_what_is_damaged(tmp_path: Path, harm: str) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    write_checksums(tmp_path)
    assert sha256(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2
    if harm == "cut":
        (tmp_path / "a").write_bytes(b"ab")
    elif harm == "missing":
        (tmp_path / "a").unlink()
    elif harm == "list":
        (tmp_path / "checksums.json").write_text('{"a": ')
    assert damage(tmp_path) == {
        "none": None,
        "cut": "a does not match its checksum",
        "missing": "a is missing",
        "list": "checksums.json is missing or unreadable",
    }.get(harm)


def test_a_replace_that_is_interrupted_keeps_the_old_folder(tmp_path, monkeypatch) -> None:
    target = tmp_path / "best"
    fill(target, "old")
    rename = Path.rename

    def stop_at_the_second(path: Path, to: Path) -> Path:
        if path.suffix == ".tmp":
            raise KeyboardInterrupt
        return rename(path, to)

    monkeypatch.setattr(Path, "rename", stop_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        fill(target, "new")
    assert names(target) == ["checksums.json", "old"]
    assert [path.name for path in tmp_path.iterdir()] == ["best"]


def test_json_is_valid_whatever_the_numbers_are() -> None:
    """Python's own writes Infinity and NaN, which RFC 8259 does not know."""
    values = {"norm": float("inf"), "by_time": [0.5, float("nan")], "pair": (1, -float("inf")), "name": "NaN"}
    assert to_json(values) == '{"norm": null, "by_time": [0.5, null], "pair": [1, null], "name": "NaN"}'


@pytest.mark.parametrize("said", ["basic_ios::clear: iostream error", "PytorchStreamWriter failed writing file data/0"])
@pytest.mark.parametrize(
    ("number", "expected"),
    [(None, RuntimeError), (errno.ENOSPC, StorageError), (errno.EDQUOT, StorageError), (errno.EIO, RuntimeError)],
)
def test_what_a_stream_says_is_a_full_disk_where_there_is_no_room(
    said: str, number: int | None, expected: type[Exception], tmp_path: Path, monkeypatch
) -> None:
    """torch's writer fails with the reason of any broken stream; whether there is room is tried."""
    if number is not None:

        def no_room(**_) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr("tempfile.TemporaryFile", no_room)
    with pytest.raises(expected), atomic_file(tmp_path / "a"):
        raise RuntimeError(said)
    assert list(tmp_path.iterdir()) == []


def test_checksums_of_others_are_no_mark_of_ours(tmp_path: Path) -> None:
    for name, text in {"scans.bin": "x" * 100, "other.txt": "hi", "checksums.json": '{"scans.bin": "abc"}'}.items():
        (tmp_path / "mine" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "mine" / name).write_text(text)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    write = [lambda folder: save_pretrained(small_teacher(), folder)]
    write += [lambda folder: export_student(Generator(small_teacher()), folder, "diffusers")]
    for each in write:
        with pytest.raises(ConfigError, match="is not empty, and realuid did not write it"):
            each(tmp_path / "mine")
        assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a file system without FIFOs")
def test_a_fifo_in_the_place_of_checksums_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "checksums.json")
    watch = threading.Timer(10, lambda: (tmp_path / "checksums.json").write_text("{}"))  # ends a read that waits
    watch.start()
    assert damage(tmp_path) == "checksums.json is missing or unreadable"
    with atomic_file(tmp_path / "new.txt") as temporary:
        temporary.write_text("content")
    assert watch.is_alive()
    watch.cancel()


def test_what_is_read_is_never_written(tmp_path: Path) -> None:
    """As users name it: a link, options after a question mark, an adapter beside its base."""
    file, link, other = tmp_path / "a.zip", tmp_path / "link.zip", tmp_path / "b.zip"
    file.write_text("mine")
    link.symlink_to(file)
    for source in (file, str(link), f"{file}?text=caption", f"base+{file}"):
        for target in (file, link):
            with pytest.raises(ConfigError, match="is what is read, and would be replaced"):
                check_writable(target, source)
        check_writable(other, source, "", "x" * 5000, "not\0a name")
