"""A .pt2 file that tries to run code is refused, the refusal says what it is, and nothing ran."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import students
import torch

from realuid.errors import CheckpointError
from realuid.exports.contract import Contract
from realuid.exports.program import ProgramStudent, write_program

MODEL, INPUTS = "models/model.json", "data/sample_inputs/model.pt"
WEIGHTS, CONSTANTS = "data/weights/model_weights_config.json", "data/constants/model_constants_config.json"
CALL = "__import__('os').system('touch it-ran')"


class Evil:
    def __reduce__(self):
        return os.system, ("touch it-ran",)


def torch_file(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The records of a program, by name."""
    path = tmp_path_factory.mktemp("program") / "s.pt2"
    generator = students.unet(classes=3)
    write_program(generator, path, Contract.of(generator))
    with zipfile.ZipFile(path) as archive:
        return {name.split("/", 1)[1]: archive.read(name) for name in archive.namelist()}


def write(records: dict[str, bytes], path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in records.items():
            archive.writestr(f"archive/{name}", content)
    return path


def change(records: dict[str, bytes], name: str, edit: Callable[[dict], object]) -> dict[str, bytes]:
    content = json.loads(records[name])
    edit(content)
    return {**records, name: json.dumps(content).encode()}


def pickled(records: dict[str, bytes], config: str, record: str) -> dict[str, bytes]:
    """With the first weight or constant as a pickle."""

    def edit(content: dict) -> None:
        next(iter(content["config"].values())).update(use_pickle=True, path_name=Path(record).name)

    return change({**records, record: torch_file(Evil())}, config, edit)


def in_graph(key: str, value: object) -> Callable[[dict], None]:
    """Put a value at the first place of a key anywhere in the program."""

    def edit(content: object) -> bool:
        if isinstance(content, dict):
            if key in content:
                content[key] = value
                return True
            return any(edit(inner) for inner in content.values())
        return isinstance(content, list) and any(edit(inner) for inner in content)

    return lambda content: edit(content)


ATTACKS: dict[str, Callable[[dict[str, bytes]], dict[str, bytes]]] = {
    "a pickled weight": lambda r: pickled(r, WEIGHTS, "data/weights/weight_0"),
    "a pickled constant": lambda r: pickled(r, CONSTANTS, "data/constants/tensor_0"),
    "a pickled object": lambda r: pickled(r, CONSTANTS, "data/constants/opaque_obj_0"),
    "pickled inputs": lambda r: {**r, INPUTS: torch_file((Evil(),))},
    "weights of another age": lambda r: {**r, "data/weights/model.pt": torch_file({"w": Evil()})},
    "compiled code": lambda r: {**r, "data/aotinductor/model/x.so": b"ELF"},
    "a size that is code": lambda r: change(r, MODEL, in_graph("expr_str", CALL)),
    "a size by another way": lambda r: change(r, MODEL, in_graph("expr_str", "Symbol.__class__('s21')")),
    "a guard that is code": lambda r: change(r, MODEL, in_graph("guards_code", [CALL])),
    "an operator that writes": lambda r: change(r, MODEL, in_graph("target", "torch.ops.aten.save.default")),
    "a function that runs": lambda r: change(r, MODEL, in_graph("target", "torch.os.system")),
    "a name that is code": lambda r: change(r, MODEL, in_graph("name", f"x = {CALL} #")),
    "an import": lambda r: change(
        r, MODEL, in_graph("in_spec", json.dumps([1, {"type": "x", "context": '{"__enum__": true, "fqn": "this:x"}'}]))
    ),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_attacks_are_refused_and_nothing_runs(attack, whole, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    changed = ATTACKS[attack](whole)
    assert changed != whole
    with (
        pytest.raises(CheckpointError, match="Nothing was run")
        if attack != "pickled inputs"
        else pytest.raises(CheckpointError, match="cannot be read")
    ):
        ProgramStudent(write(changed, tmp_path / "s.pt2"))
    assert not (tmp_path / "it-ran").exists()


@pytest.mark.parametrize("attack", ["a pickled weight", "pickled inputs", "a size that is code"])
def test_torch_itself_would_have_run_them(attack, whole, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write(ATTACKS[attack](whole), tmp_path / "s.pt2")
    with contextlib.suppress(Exception):
        torch.export.load(path)
    assert (tmp_path / "it-ran").exists()


def test_the_older_format_is_refused(tmp_path, monkeypatch):
    """Before torch 2.8 a program was a zip of pickles; torch reads it still."""
    monkeypatch.chdir(tmp_path)
    with zipfile.ZipFile(tmp_path / "s.pt2", "w") as archive:
        archive.writestr("version", "8.8")
        for name in ("exported_program.json", "state_dict.pt", "constants.pt", "example_inputs.pt"):
            archive.writestr(f"serialized_{name}", pickle.dumps(Evil()))
    with pytest.raises(CheckpointError, match="cannot be read as a torch"):
        ProgramStudent(tmp_path / "s.pt2")
    assert not (tmp_path / "it-ran").exists()


def test_an_unchanged_copy_loads(whole, tmp_path):
    """What is refused above is refused for the change, not for having been written anew."""
    student = ProgramStudent(write(whole, tmp_path / "s.pt2"))
    assert student.shape == (3, 8, 8)


def test_files_do_not_tell_where_they_were_made(whole):
    here = str(Path(__file__).parents[2]).encode()
    assert not [name for name, content in whole.items() if here in content or b"site-packages" in content]
