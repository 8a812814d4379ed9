"""Opening a .pt2 file, which a stranger may have written, without running what it brings.

`torch.export.load` unpickles, imports, compiles and evaluates whatever a file asks for. So a file is read here first,
by the same reader, and goes on to torch only if it holds nothing but what `write_program` writes: raw weights and,
around them, torch's own operators, plain names and arithmetic of the batch size.
"""

from __future__ import annotations

import ast
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.export import ExportedProgram

from realuid.compat import load_pt2_archive, open_pt2_archive
from realuid.errors import CheckpointError
from realuid.exports.contract import ABOUT

_MODEL, _INPUTS = "models/model.json", "data/sample_inputs/model.pt"
_PAYLOADS = ("data/weights/model_weights_config.json", "data/constants/model_constants_config.json")
_RECORDS = re.compile(
    rf"archive_format|archive_version|byteorder|\.data/\w+|extra/{re.escape(ABOUT)}|{_MODEL}|{_INPUTS}|"
    rf"data/weights/weight_\d+|data/constants/tensor_\d+|{'|'.join(_PAYLOADS)}"
)
#: Every operator of tensors but the two that open files, and arithmetic of sizes.
_OPERATORS = re.compile(
    r"torch\.ops\.aten\.(?!save\b|from_file\b)\w+\.\w+|torch\.sym_(max|min)|"
    r"_operator\.(add|sub|mul|floordiv|mod|neg|getitem|eq|ne|lt|le|gt|ge)"
)
#: What torch evaluates: expressions of sizes.
_FORMULAS = ("expr_str", "guards_code")
_FUNCTIONS = {"Symbol", "Integer", "Add", "Mul", "Max", "Min", "Mod", "PythonMod", "FloorDiv", "CeilDiv", "CleanDiv"}
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


def read_program(path: Path) -> tuple[ExportedProgram, nn.Module, str]:
    """The program of a .pt2 file that `write_program` wrote, also as a module, and the text of its contract.

    Raises:
        CheckpointError: where it is missing, damaged or not ours; or holds more than weights and arithmetic, saying
            what; then nothing of it was run.
    """
    try:
        with path.open("rb") as file:
            for found in _surprises(open_pt2_archive(file)):
                raise CheckpointError(
                    f"refused '{path}': it holds {found[:200]!a}, which no program of `realuid export` does. Nothing "
                    "was run. If you trust it, open it with torch.export.load yourself."
                )
            file.seek(0)
            contents = load_pt2_archive(file)
        program = contents.exported_programs["model"]
        return program, program.module(), contents.extra_files.get(ABOUT, "")
    except CheckpointError:
        raise
    except Exception as error:  # damage surfaces as nearly any type
        reason = type(error).__name__
        raise CheckpointError(f"'{path}' cannot be read as a torch.export program ({reason}).") from error


def _surprises(archive: Any) -> Iterator[str]:
    """What a file holds besides weights, plain names and arithmetic; damage raises anything."""
    names = archive.get_file_names()
    yield from (name for name in names if not _RECORDS.fullmatch(name))
    for config in _PAYLOADS:
        for entry in json.loads(archive.read_string(config))["config"].values():
            record = f"{Path(config).parent}/{entry['path_name']}"
            if entry["use_pickle"] is not False or record not in names:
                yield f"the pickle {entry['path_name']}"
    torch.load(io.BytesIO(archive.read_bytes(_INPUTS)), weights_only=True)
    yield from _odd_strings(json.loads(archive.read_bytes(_MODEL)))


def _odd_strings(value: Any, key: str = "") -> Iterator[str]:
    """Strings of a program that are not what belongs under their key; names of entries have to be plain, too."""
    match value:
        case dict():
            for name, inner in value.items():
                if not _NAME.fullmatch(name):
                    yield name
                yield from _odd_strings(inner, name)
        case list():
            for inner in value:
                yield from _odd_strings(inner, key)
        case str() if not _belongs(value, key):
            yield value


def _belongs(text: str, key: str) -> bool:
    if key == "target":
        return bool(_OPERATORS.fullmatch(text))
    if key in _FORMULAS:
        return _is_formula(text)
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
