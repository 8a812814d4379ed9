"""One entry for every format that a student may have: what `realuid sample` opens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from realuid.errors import CheckpointError, ExportError
from realuid.exports.authors import read_authors
from realuid.exports.diffusers import is_one_step, read_diffusers
from realuid.exports.onnx import OnnxStudent
from realuid.exports.program import ProgramStudent
from realuid.exports.student import Student
from realuid.models import Generator, MatchingModel
from realuid.models.saving import read_config, read_header
from realuid.teachers import load_model, model_folder
from realuid.teachers.torch_file import read_torch_file
from realuid.teachers.torchcfm import looks_like_student

_TORCH_FILES = (".pt", ".pth", ".ckpt", ".bin")


def load_any(path: str | Path) -> MatchingModel | Generator | Student:
    """A model in any format that can be sampled: ours, or one that `realuid export` writes.

    .onnx, .pt2, a one-step pipeline folder of diffusers, a distilled checkpoint of the RealUID authors; everything else
    is `load_model`'s.

    Raises:
        CheckpointError: where there is none, or it is damaged.
        ConfigError: where a format needs an extra that is not installed.
    """
    path = Path(path)
    if path.suffix == ".onnx":
        return OnnxStudent(path)
    if path.suffix == ".pt2":
        return ProgramStudent(path)
    if is_one_step(path):
        return read_diffusers(path)
    if path.suffix in _TORCH_FILES and path.is_file() and looks_like_student(read_torch_file(path)):
        return read_authors(path)
    return load_model(path)


def load_student(path: str | Path) -> Generator:
    """A one-step generator with its weights, in any format that keeps them as such.

    Raises:
        CheckpointError: where there is none, or it is a teacher.
        ExportError: for a program, which has weights no longer.
    """
    model = load_any(path)
    if isinstance(model, Student):
        raise ExportError(f"'{path}' is exported already. Export again from the generator's own folder or weights.")
    if not isinstance(model, Generator):
        raise CheckpointError(f"'{path}' is a teacher, not a one-step generator: distil it first.")
    return model


def description(path: str | Path) -> dict[str, Any]:
    """What a saved model says of how it was made: config.json or its like; empty for other people's formats."""
    path = Path(path)
    if path.suffix == ".safetensors":
        return read_header(path)
    return read_config(model_folder(path)) if path.is_dir() else {}
