"""Opening an untrusted .pt2 file without executing its code.

`torch.export.load` unpickles, imports, compiles and evaluates whatever a file asks for. So a file is first read here,
with the same archive reader, and passed to torch only if it contains nothing but what `write_program` writes: raw
weights, allowed operators, plain names and arithmetic of the batch size. The program is then traced with fake tensors,
which have shapes but no values: its output has to agree with its contract, and intermediate results must not be too
large.
"""

from __future__ import annotations

import ast
import json
import os
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.library import OpOverload

from realuid.compat import load_pt2_program, open_pt2_archive, sizes_only
from realuid.errors import CheckpointError, ExportError
from realuid.exports.contract import ABOUT, Contract
from realuid.exports.operators import is_allowed
from realuid.reading import open_regular

if TYPE_CHECKING:
    from realuid.compat import PT2ArchiveReader

_MODEL, _INPUTS = "models/model.json", "data/sample_inputs/model.pt"
_PAYLOADS = ("data/weights/model_weights_config.json", "data/constants/model_constants_config.json")
_RECORDS = re.compile(
    rf"archive_format|archive_version|byteorder|\.data/\w+|extra/{re.escape(ABOUT)}|{_MODEL}|{_INPUTS}|"
    rf"data/weights/weight_\d+|data/constants/tensor_\d+|{'|'.join(_PAYLOADS)}"
)
#: Of one tensor of a batch of two, 8 GiB in float32: activations of 4096 x 4096 in 64 channels.
MAX_NUMBERS = 1 << 31
#: Where a slice ends that has no end.
_LAST = 2**63 - 1
#: What torch evaluates: expressions of sizes, and how long they may be.
_FORMULAS = ("expr_str", "guards_code")
_FUNCTIONS = {"Symbol", "Integer", "Add", "Mul", "Max", "Min", "Mod", "PythonMod", "FloorDiv", "CeilDiv", "CleanDiv"}
_MAX_FORMULA = 1000
_FORMULA = (
    *(ast.Expression, ast.Load, ast.Name, ast.Constant, ast.Subscript, ast.Attribute, ast.Call, ast.keyword),
    *(ast.Compare, ast.cmpop, ast.BinOp, ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.UnaryOp),
    *(ast.USub, ast.Not, ast.BoolOp, ast.boolop),
)
#: How inputs and outputs are nested.
_SPECS = ("in_spec", "out_spec")
_SPEC = re.compile(r'([\[\]{}:,\s\d]|null|"(type|context|children_spec|null|\[\]|builtins\.(tuple|list|dict))")*')
#: Arguments of operators that are text, for instance einsum's equation.
_DATA = "as_string"
_NAME = re.compile(r"[\w.:+-]*")


def read_program(path: Path) -> tuple[ExportedProgram, nn.Module, Contract]:
    """The program of a .pt2 file that `write_program` wrote, also as a module, and its contract.

    Raises:
        CheckpointError: where it is missing, damaged or not ours; or holds more than weights and arithmetic, saying
            what; then nothing of it was run.
    """
    try:
        with open_regular(path) as file:
            archive = open_pt2_archive(file, without=_INPUTS)
            for found in _surprises(archive, os.fstat(file.fileno()).st_size):
                raise CheckpointError(
                    f"refused '{path}': it holds {found[:200]!a}, which no program of `realuid export` does. Nothing "
                    "was run. If you trust it, open it with torch.export.load yourself."
                )
            contract = Contract.from_json(archive.read_string(f"extra/{ABOUT}"), str(path))
            program = load_pt2_program(archive)
            module = program.module()
        _check_run(module, contract, str(path))
        return program, module, contract
    except CheckpointError:
        raise
    except Exception as error:  # damage surfaces as nearly any type
        reason = type(error).__name__
        raise CheckpointError(f"'{path}' cannot be read as a torch.export program ({reason}).") from error


def has_contract(path: Path) -> bool:
    """Whether a .pt2 file has the contract of `write_program`; nothing of it is read or run."""
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as archive:
            return any(name.endswith(f"/extra/{ABOUT}") for name in archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


def check_operators(program: ExportedProgram) -> None:
    """Raise ExportError where a program calls an operator that `read_program` would refuse."""
    for node in program.graph.nodes:
        if isinstance(node.target, OpOverload) and not is_allowed(f"torch.ops.{node.target}"):
            raise ExportError(
                f"the network calls {node.target}, which is not among the operators that are opened again as a "
                "program of a stranger. Export to safetensors or onnx instead."
            )


def _check_run(module: nn.Module, contract: Contract, where: str) -> None:
    """Run a program on sizes alone, without memory: it has to make what its contract says."""
    batch = 2
    with sizes_only() as sized, torch.no_grad():
        inputs = [sized(value) for value in contract.example(batch)]
        try:
            run = _Measured(module)
            run.extra_traceback = False  # of fx, which adds lines to the errors of operators
            made = run.run(*inputs)
        except _TooLargeError as error:
            raise CheckpointError(f"refused '{where}': it makes {error} on the way.") from error
        except Exception as error:  # of any operator, and of guards
            reason = " ".join(str(error).split())[:200]
            raise CheckpointError(
                f"'{where}' is damaged: its program does not run on what its contract says ({reason})."
            ) from error
    needed, dtype = (batch, *contract.result_shape), torch.uint8 if contract.uint8 else torch.float32
    if not isinstance(made, Tensor) or (made.shape, made.dtype) != (needed, dtype):
        what = f"{made.dtype} of shape {tuple(made.shape)}" if isinstance(made, Tensor) else type(made).__name__
        raise CheckpointError(
            f"'{where}' is damaged: its program makes {what}, but its contract says {dtype} of shape {needed}."
        )


class _TooLargeError(Exception):
    """A tensor that no network makes."""


class _Measured(torch.fx.Interpreter):
    """Runs a program node by node and looks at the size of every result."""

    def run_node(self, n: torch.fx.Node) -> Any:
        result = super().run_node(n)
        if isinstance(result, Tensor) and result.numel() > MAX_NUMBERS:
            raise _TooLargeError(f"a tensor of {result.numel():,} numbers")
        return result


def _surprises(archive: PT2ArchiveReader, size: int) -> Iterator[str]:
    """What a file of some size holds besides weights, plain names and arithmetic; damage raises anything."""
    names = archive.get_file_names()
    yield from (name for name in names if not _RECORDS.fullmatch(name))
    held = {name: archive.archive_file.get_record_size(name) for name in names}
    if sum(held.values()) > size:
        yield "compressed records"
    for config in _PAYLOADS:
        for entry in json.loads(archive.read_string(config))["config"].values():
            record = f"{Path(config).parent}/{entry['path_name']}"
            if entry["use_pickle"] is not False or record not in names:
                yield f"the pickle {entry['path_name']}"
            elif not held[record] and 0 not in [length["as_int"] for length in entry["tensor_meta"]["sizes"]]:
                yield f"{entry['path_name']} without its numbers"
    yield from _odd_values(json.loads(archive.read_bytes(_MODEL)))


def _odd_values(value: Any, key: str = "") -> Iterator[str]:
    """Values of a program that are not what belongs under their key; names of entries have to be plain, too."""
    match value:
        case dict():
            for name, inner in value.items():
                if not _NAME.fullmatch(name):
                    yield name
                yield from _odd_values(inner, name)
        case list():
            for inner in value:
                yield from _odd_values(inner, key)
        case str() if not _belongs(value, key):
            yield value
        case int() if abs(value) > MAX_NUMBERS and value != _LAST:
            yield str(value)


def _belongs(text: str, key: str) -> bool:
    if key == "target":
        return is_allowed(text)
    if key in _FORMULAS:
        return len(text) <= _MAX_FORMULA and _is_formula(text)
    if key in _SPECS:
        return bool(_SPEC.fullmatch(text))
    return key == _DATA or bool(_NAME.fullmatch(text))


def _is_formula(text: str) -> bool:
    """Whether a text is arithmetic of symbols and of the inputs' sizes: nothing in it can be called but known names."""
    try:
        nodes = list(ast.walk(ast.parse(text, mode="eval")))
    except SyntaxError:
        return False
    return all(isinstance(node, _FORMULA) and _is_plain(node) for node in nodes)


def _is_plain(node: ast.AST) -> bool:
    match node:
        case ast.Name(id=name):
            return name == "L" or name in _FUNCTIONS
        case ast.Attribute(attr=name):
            return name == "size"
        case ast.Call(func=ast.Name() | ast.Attribute(), args=arguments):
            return not any(isinstance(argument, ast.Starred) for argument in arguments)
        case ast.Call():
            return False
        case ast.Constant(value=str(name)):
            return name.isidentifier()
        case _:
            return True
