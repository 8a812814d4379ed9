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

from realuid.errors import CheckpointError, ExportError
from realuid.exports.contract import ABOUT, Contract
from realuid.exports.program import ProgramStudent, write_program
from realuid.exports.program_file import check_operators
from realuid.models import Condition

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


def claiming(records: dict[str, bytes]) -> dict[str, bytes]:
    """With a first weight of no bytes, which says that it holds 10^12 numbers."""

    def edit(content: dict) -> None:
        entry = next(iter(content["config"].values()))
        entry["tensor_meta"]["sizes"][0]["as_int"] = 2**30

    return change({**records, "data/weights/weight_0": b""}, WEIGHTS, edit)


ATTACKS: dict[str, Callable[[dict[str, bytes]], dict[str, bytes]]] = {
    "a pickled weight": lambda r: pickled(r, WEIGHTS, "data/weights/weight_0"),
    "a pickled constant": lambda r: pickled(r, CONSTANTS, "data/constants/tensor_0"),
    "a pickled object": lambda r: pickled(r, CONSTANTS, "data/constants/opaque_obj_0"),
    "weights of another age": lambda r: {**r, "data/weights/model.pt": torch_file({"w": Evil()})},
    "compiled code": lambda r: {**r, "data/aotinductor/model/x.so": b"ELF"},
    "a size that is code": lambda r: change(r, MODEL, in_graph("expr_str", CALL)),
    "a size by another way": lambda r: change(r, MODEL, in_graph("expr_str", "Symbol.__class__('s21')")),
    "a guard that is code": lambda r: change(r, MODEL, in_graph("guards_code", [CALL])),
    "an operator that writes": lambda r: change(r, MODEL, in_graph("target", "torch.ops.aten.save.default")),
    "an operator that trusts its indices": lambda r: change(
        r, MODEL, in_graph("target", "torch.ops.aten._sparse_coo_tensor_unsafe.default")
    ),
    "an operator that trusts its lengths": lambda r: change(
        r, MODEL, in_graph("target", "torch.ops.aten.segment_reduce.default")
    ),
    "an operator that resizes": lambda r: change(r, MODEL, in_graph("target", "torch.ops.aten.add.out")),
    "an operator of memory": lambda r: change(r, MODEL, in_graph("target", "torch.ops.aten.set_.source_Storage")),
    "a huge number": lambda r: change(r, MODEL, in_graph("as_int", 10**12)),
    "a huge expression": lambda r: change(r, MODEL, in_graph("expr_str", "*".join(["Symbol('s21')"] * 1000))),
    "a weight without its numbers": claiming,
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
    with pytest.raises(CheckpointError, match="Nothing was run"):
        ProgramStudent(write(changed, tmp_path / "s.pt2"))
    assert not (tmp_path / "it-ran").exists()


def test_inputs_of_the_trace_are_not_unpickled(whole, tmp_path, monkeypatch):
    """A program has no need of them."""
    monkeypatch.chdir(tmp_path)
    student = ProgramStudent(write({**whole, INPUTS: torch_file((Evil(),))}, tmp_path / "s.pt2"))
    assert student(torch.zeros(1, 3, 8, 8), Condition(label=torch.zeros(1, dtype=torch.int64))).shape == (1, 3, 8, 8)
    assert not (tmp_path / "it-ran").exists()


@pytest.mark.parametrize("attack", ["a pickled weight", "a size that is code"])
def test_torch_itself_would_have_run_them(attack, whole, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write(ATTACKS[attack](whole), tmp_path / "s.pt2")
    with contextlib.suppress(Exception):
        torch.export.load(path)
    assert (tmp_path / "it-ran").exists()


#: Changes of a contract -> what is said of a program that does not fit it.
CONTRACTS = {
    "other noise": ({"shape": [3, 8, 16]}, "damaged: its program"),
    "other images": ({"image_shape": [3, 16, 16]}, "makes torch.float32 of shape"),
    "other numbers": ({"uint8": True}, "but its contract says torch.uint8"),
    "no labels": ({"conditions": []}, "does not run on what its contract says"),
    "terabytes": ({"shape": [3, 2**20, 2**20]}, "samples of shape"),
    "a shape of text": ({"shape": "388"}, "samples of shape"),
    "a shape that is a fraction": ({"image_shape": [3, 8, 8.5]}, "samples of shape"),
    "endless classes": ({"conditions": None, "num_classes": 10**12}, "1000000000000 classes"),
    "no dictionary": ({"about": [1]}, "cannot be read"),
    "no shape": ({"shape": None}, "cannot be read"),
}


@pytest.mark.parametrize("name", CONTRACTS)
def test_contracts_that_do_not_fit_are_refused(name, whole, tmp_path):
    changes, says = CONTRACTS[name]
    entry = f"extra/{ABOUT}"
    about = {**json.loads(whole[entry]), **changes}
    about = {key: value for key, value in about.items() if value is not None or key != "conditions"}
    path = write({**whole, entry: json.dumps(about).encode()}, tmp_path / "s.pt2")
    with pytest.raises(CheckpointError, match=says):
        ProgramStudent(path)


def test_a_program_with_too_large_steps_is_refused(whole, tmp_path):
    """Through an operator that is allowed: an enlargement by 100,000."""
    changed = change(whole, MODEL, in_graph("as_floats", [1e5, 1e5]))
    with pytest.raises(CheckpointError, match=r"makes a tensor of [\d,]+ numbers on the way\.$"):
        ProgramStudent(write(changed, tmp_path / "s.pt2"))


def test_a_class_that_a_program_does_not_know_is_one_line(whole, tmp_path):
    """The contract promises more classes than the embedding has."""
    entry = f"extra/{ABOUT}"
    about = json.loads(whole[entry])
    about["conditions"][0]["classes"] = 9
    student = ProgramStudent(write({**whole, entry: json.dumps(about).encode()}, tmp_path / "s.pt2"))
    with pytest.raises(CheckpointError, match="cannot compute what it promises"):
        student(torch.zeros(1, 3, 8, 8), Condition(label=torch.tensor([8])))


def test_a_network_of_other_operators_is_not_exported():
    class Fourier(torch.nn.Module):
        def forward(self, x):
            return torch.fft.fft(x).real

    with pytest.raises(ExportError, match=r"calls aten\.fft_fft\.default"):
        check_operators(torch.export.export(Fourier(), (torch.zeros(2, 4),)))


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


def test_results_of_another_shape_are_no_images(
    whole: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A damaged graph may make two rows for one: found by the fuzzer."""
    student = ProgramStudent(write(whole, tmp_path / "s.pt2"))
    noise, condition = torch.zeros(1, *student.shape), Condition({"label": torch.zeros(1, dtype=torch.long)})
    assert student(noise, condition).shape == (1, *student.image_shape)
    monkeypatch.setattr(student, "run", lambda _: torch.zeros(2, *student.image_shape))
    with pytest.raises(CheckpointError, match=r"makes \(2, 3, 8, 8\), where its contract promises \(1, 3, 8, 8\)"):
        student(noise, condition)
