"""Damaged programs: .pt2 and .onnx files, and contracts that do not fit them."""

from __future__ import annotations

import json
import random
import zipfile
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from fuzz.harness import Case, mutate
from fuzz.models import loading
from fuzz.values import changed
from realuid.exports.contract import ABOUT, Contract
from realuid.exports.onnx import OnnxStudent, write_onnx
from realuid.exports.program import ProgramStudent, write_program
from realuid.models import Generator, Teacher


class _Network(nn.Module):
    """A line of operators: what reads programs takes milliseconds for each."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.out = nn.Embedding(3, 2), nn.Linear(2, 2)

    def forward(self, x: Tensor, time: Tensor, labels: Tensor) -> Tensor:
        return self.out(torch.relu(x * time.unsqueeze(1) + self.embed(labels)))


def _small() -> Generator:
    return Generator(Teacher(_Network(), (2,), num_classes=3)).eval()


def _program(path: Path) -> dict[str, bytes]:
    """The records of a program."""
    generator = _small()
    write_program(generator, path, Contract.of(generator))
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _write(path: Path, records: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in records.items():
            archive.writestr(name, content)


def programs(folder: Path, chance: random.Random) -> Iterator[Case]:
    """torch.export programs with damaged bytes in the archive or in a text, or odd values in a text."""
    path = folder / "damaged.pt2"
    records = _program(path)
    whole = path.read_bytes()
    texts = [name for name in records if name.endswith(".json")]
    while True:
        name = chance.choice(texts)
        match chance.randrange(4):
            case 0:
                path.write_bytes(mutate(whole, chance))
            case 1:
                _write(path, {**records, name: mutate(records[name], chance)})
            case _:
                odd = json.dumps(changed(json.loads(records[name]), chance)).encode("utf-8", "surrogatepass")
                _write(path, {**records, name: odd})
        yield Case(loading(lambda: ProgramStudent(path)), path.stat().st_size)


def contracts(folder: Path, chance: random.Random) -> Iterator[Case]:
    """Programs whose contract says something odd."""
    path = folder / "damaged.pt2"
    records = _program(path)
    (name,) = (name for name in records if name.endswith(f"extra/{ABOUT}"))
    while True:
        _write(path, {**records, name: json.dumps(changed(json.loads(records[name]), chance)).encode()})
        yield Case(loading(lambda: ProgramStudent(path)), path.stat().st_size)


def graphs(folder: Path, chance: random.Random) -> Iterator[Case]:
    """ONNX files with damaged bytes, damaged nodes, or odd contracts."""
    import onnx

    path, generator = folder / "damaged.onnx", _small()
    write_onnx(generator, path, Contract.of(generator))
    whole = path.read_bytes()
    kinds = ("Loop", "Expand", "Tile", "Reshape", "Range", "ConstantOfShape", "NonZero", "Gather", "Conv", "If", "Cast")
    while True:
        model = onnx.load_model_from_string(whole)
        match chance.randrange(4):
            case 0:
                path.write_bytes(mutate(whole, chance))
            case 1:
                (entry,) = (entry for entry in model.metadata_props if entry.key == ABOUT)
                entry.value = json.dumps(changed(json.loads(entry.value), chance))
                path.write_bytes(model.SerializeToString())
            case 2:
                node = chance.choice(model.graph.node)
                node.op_type = chance.choice(kinds)
                path.write_bytes(model.SerializeToString())
            case 3:
                nodes = model.graph.node
                node, other = chance.choice(nodes), chance.choice(nodes)
                if node.input and other.output:
                    node.input[chance.randrange(len(node.input))] = chance.choice(other.output)
                weights = chance.choice(model.graph.initializer)
                if weights.dims:
                    weights.dims[0] = chance.choice((0, 1, 2, 10**6, 10**12, 2**62))
                path.write_bytes(model.SerializeToString())
        yield Case(loading(lambda: OnnxStudent(path)), path.stat().st_size)
