"""Files are whole or absent, whatever happens half-way."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from realuid.files import atomic_file, atomic_folder, damage, repair, sha256, to_json, write_checksums, write_json


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
    with atomic_folder(tmp_path / "f") as temporary:
        (temporary / "old").write_text("1")
    with pytest.raises(RuntimeError), atomic_folder(tmp_path / "f") as temporary:
        (temporary / "new").write_text("2")
        raise RuntimeError
    assert names(tmp_path) == ["f", "f/old"]


def test_a_new_folder_replaces_the_old_one_as_a_whole(tmp_path: Path) -> None:
    for name in ("old", "new"):
        with atomic_folder(tmp_path / "f") as temporary:
            (temporary / name).write_text(name)
    assert names(tmp_path) == ["f", "f/new"]


def test_a_failure_while_the_folder_takes_its_name_loses_nothing(tmp_path: Path) -> None:
    """The worst moment of a kill: the old folder moved aside, the new one not yet there."""
    with atomic_folder(tmp_path / "f") as temporary:
        (temporary / "old").write_text("1")
    (tmp_path / "f").rename(tmp_path / ".f.77.old")
    (tmp_path / ".f.77.tmp").mkdir()
    (tmp_path / ".f.77.tmp" / "new").write_text("2")
    (tmp_path / ".g.json.77.tmp").write_text("half")
    (tmp_path / ".hidden").write_text("somebody else's")
    repair(tmp_path)
    assert names(tmp_path) == [".hidden", "f", "f/old"]


def test_repair_removes_what_was_replaced(tmp_path: Path) -> None:
    for name in ("f", ".f.77.old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name.strip(".")).write_text(name)
    repair(tmp_path)
    assert names(tmp_path) == ["f", "f/f"]


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
    with atomic_folder(target) as folder:
        (folder / "weights").write_text("old")
    rename = Path.rename

    def stop_at_the_second(path: Path, to: Path) -> Path:
        if path.suffix == ".tmp":
            raise KeyboardInterrupt
        return rename(path, to)

    monkeypatch.setattr(Path, "rename", stop_at_the_second)
    with pytest.raises(KeyboardInterrupt), atomic_folder(target) as folder:
        (folder / "weights").write_text("new")
    assert (target / "weights").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["best"]


def test_json_is_valid_whatever_the_numbers_are() -> None:
    """Python's own writes Infinity and NaN, which RFC 8259 does not know."""
    values = {"norm": float("inf"), "by_time": [0.5, float("nan")], "pair": (1, -float("inf")), "name": "NaN"}
    assert to_json(values) == '{"norm": null, "by_time": [0.5, null], "pair": [1, null], "name": "NaN"}'
