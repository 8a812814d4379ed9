"""Recipes that anybody may have written: one line instead of a traceback, a hang or all of the memory."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from realuid.errors import ConfigError
from realuid.recipes import load_recipe

LISTS = "teacher:\n  ema:\n    - &a [1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"    - &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(8)
)
MERGES = "a0: &a0 {x: 1}\n" + "".join(f"a{i + 1}: &a{i + 1} {{<<: [{', '.join([f'*a{i}'] * 9)}]}}\n" for i in range(12))
HOSTILE = {
    "lists that expand": (LISTS, "its aliases stand for more than 20,000 values"),
    "mappings that expand": (MERGES, "its aliases stand for more than 20,000 values"),
    "a list in itself": ("teacher: &a [*a]", "its aliases stand for more than"),
    "a mapping in itself": ("data: &a {source: *a}", "its aliases stand for more than"),
    "nested lists": ("data: " + "[" * 5000 + "]" * 5000, "is nested too deeply"),
    "nested mappings": ("{a: " * 5000 + "1" + "}" * 5000, "is nested too deeply"),
    "latin-1": (b"base: demo\nname: caf\xe9\n", "UTF-8 (invalid continuation byte at byte 20)"),
    "utf-16": ("base: demo\n".encode("utf-16"), "UTF-8 (invalid start byte"),
    "nothing": ("", "is empty"),
    "a tag that runs code": ("!!python/object/apply:os.system [id]", "is not valid YAML"),
    "a date that is none": ("name: 2001-99-99", "is not valid YAML"),
    "a number of 9000 digits": ("seed: " + "1" * 9000, "is not valid YAML"),
    "a control character": ("name: \x07", "is not valid YAML"),
    "a base that is a list": ("base: [demo]", "base = ['demo'] is not the name of a recipe"),
    "two documents": ("base: demo\n---\nbase: demo\n", "is not valid YAML"),
    "much text": ("name: " + "x" * 2_000_000, "at most 1,000,000 are read"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_recipes(kind: str, tmp_path: Path, realuid) -> None:
    content, message = HOSTILE[kind]
    path = tmp_path / "r.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    start = time.process_time()
    code, said = realuid("info", path)
    assert code == 2 and message in said and len(said) < 1000, said[:1000]
    assert time.process_time() - start < 5


def test_bases_in_a_circle(tmp_path: Path, realuid, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, base in (("a", "b"), ("b", "c"), ("c", "b")):
        (tmp_path / f"{name}.yaml").write_text(f"base: {base}.yaml")
    code, said = realuid("info", "a.yaml")
    assert code == 2 and "'c.yaml': base is a.yaml -> b.yaml -> c.yaml -> b.yaml." in said


def test_aliases_of_a_sane_size_and_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    text = "base: demo\nname: ä\nteacher: {ema: &e [0.5, 0.9]}\ndistill: {ema: *e}\n"
    (tmp_path / "r.yaml").write_text(text, encoding="utf-8-sig")
    recipe = load_recipe(str(tmp_path / "r.yaml"))
    assert recipe.name == "ä" and recipe.teacher.ema == recipe.distill.ema == (0.5, 0.9)


def test_a_folder_or_device_is_no_recipe(tmp_path: Path) -> None:
    import os

    (tmp_path / "folder.yaml").mkdir()
    os.mkfifo(tmp_path / "fifo.yaml")
    for name in ("folder", "fifo"):
        with pytest.raises(ConfigError, match="no recipe file at"):
            load_recipe(str(tmp_path / f"{name}.yaml"))
