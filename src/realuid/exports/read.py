"""Reading students in all formats of export."""

from __future__ import annotations

from pathlib import Path

from realuid.errors import CheckpointError, ConfigError, ExportError
from realuid.exports.authors import is_noted, read_authors
from realuid.exports.diffusers import is_one_step, read_diffusers
from realuid.exports.onnx import OnnxStudent
from realuid.exports.program import ProgramStudent
from realuid.exports.student import ExportedStudent
from realuid.loaders import load_model
from realuid.loaders.load import Kind
from realuid.models import MatchingModel, Student


def load_any(
    path: str | Path, *, kind: Kind | None = None, key: str | None = None, size: tuple[int, ...] | None = None
) -> MatchingModel | Student | ExportedStudent:
    """A model in any format that can be sampled: what `load_model` takes, or what `realuid export` wrote.

    Args:
        path: .onnx, .pt2, a one-step pipeline folder of diffusers, an authors' checkpoint by `realuid export`; all else
            is `load_model`'s.
        kind, key, size: as in `load_model`; exported students make images of one size.

    Raises:
        CheckpointError: where there is none, or it is damaged.
        ConfigError: where a format needs an extra that is not installed, or for the size of a model of one size.
    """
    local = Path(path)
    exported, authors = is_exported(local), local.suffix == ".pt" and local.is_file() and is_noted(local)
    if size is not None and (exported or authors):
        raise ConfigError(f"size = {size}: '{path}' makes images of one size. Leave size out.")
    if exported:
        return _exported(local)
    if authors:
        return read_authors(local, key)
    return load_model(path, kind=kind, key=key, size=size)


def is_exported(path: Path) -> bool:
    """Whether something is a student that others run: a program, not weights."""
    return path.suffix in (".onnx", ".pt2") or is_one_step(path)


def _exported(local: Path) -> ExportedStudent:
    if local.suffix == ".onnx":
        return OnnxStudent(local)
    if local.suffix == ".pt2":
        student = ProgramStudent(local)
        if not student.contract.decodes:
            raise CheckpointError(f"'{local}' makes latents, and its pipeline's folder has the decoder: pass that.")
        return student
    return read_diffusers(local)


def load_student(path: str | Path) -> Student:
    """A student with its weights, in any format that keeps them as such.

    Raises:
        CheckpointError: where there is none, or it is a teacher.
        ExportError: for a program, which has weights no longer.
    """
    model = load_any(path, kind="generator")
    if isinstance(model, ExportedStudent):
        raise ExportError(f"'{path}' is exported already. Export again from the generator's own folder or weights.")
    assert isinstance(model, Student)
    return model
