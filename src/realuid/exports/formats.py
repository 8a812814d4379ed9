"""The formats of exports: how each is written, read, and known as realuid's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from realuid.errors import CheckpointError, ConfigError
from realuid.exports.authors import is_noted, read_authors, write_authors
from realuid.exports.contract import ABOUT, Contract
from realuid.exports.diffusers import read_diffusers, write_diffusers
from realuid.exports.onnx import OnnxStudent, write_onnx
from realuid.exports.onnx_file import read_about
from realuid.exports.options import ExportOptions
from realuid.exports.program import ProgramStudent, write_program
from realuid.exports.program_file import has_contract
from realuid.exports.read import load_student
from realuid.exports.space import read_space, write_space
from realuid.files import CHECKSUMS, check_writable, damage, is_empty, refuse_below_file, refuse_sources
from realuid.models import Student, load_single_file, save_single_file
from realuid.models.saving.folder import read_header


@dataclass(frozen=True)
class _Format:
    """How a format is written to a path that is there for it (folder) or free (file), read, and (file) known."""

    write: Callable[[Student, Path, Contract, ExportOptions], object]
    read: Callable[[Path], Any]
    ours: Callable[[Path], object] | None = None

    @property
    def folder(self) -> bool:
        return self.ours is None


def _write_lora(student: Student, out: Path, contract: Contract, _: ExportOptions) -> None:
    try:
        from realuid.exports.lora import write_lora
    except ImportError as error:
        raise ConfigError("--to lora needs the extra: pip install 'realuid[lora]'.") from error
    write_lora(student, out, contract)


FORMATS: dict[str, _Format] = {
    "diffusers": _Format(lambda g, out, contract, _: write_diffusers(g, out, contract), read_diffusers),
    "lora": _Format(_write_lora, load_student),
    "space": _Format(lambda g, out, contract, _: write_space(g, out, contract), read_space),
    "onnx": _Format(lambda g, out, contract, o: write_onnx(g, out, contract, o.precision), OnnxStudent, read_about),
    "torch": _Format(lambda g, out, contract, _: write_program(g, out, contract), ProgramStudent, has_contract),
    "safetensors": _Format(
        lambda g, out, contract, _: save_single_file(g, out, **contract.about), load_single_file, read_header
    ),
    "authors": _Format(lambda g, out, contract, o: write_authors(g, out, contract, o.ema_key), read_authors, is_noted),
}
#: Ending of a file in each format, by which `load_any` knows it.
ENDINGS = {"onnx": ".onnx", "torch": ".pt2", "safetensors": ".safetensors", "authors": ".pt"}


def check_out(to: str, out: Path, generator: Student | str | Path) -> None:
    """Refuse to replace the generator's own files, or what realuid did not write."""
    sources = () if isinstance(generator, Student) else (generator,)
    if not FORMATS[to].folder:
        check_writable(out, *sources)
        if out.exists() and not _is_ours(to, out):
            raise ConfigError(f"'{out}' is there already, and is no export of realuid. Pass another name.")
        return
    refuse_sources(out, *sources)
    refuse_below_file(out)
    if out.is_file():
        raise ConfigError(f"'{out}' is a file. Pass a new folder.")
    if not is_empty(out) and not is_export(out):
        raise ConfigError(f"'{out}' is not empty, and realuid did not write it. Pass a new folder.")
    if (out / CHECKSUMS).is_file() and (reason := damage(out)):
        raise ConfigError(f"'{out}' was changed since it was exported ({reason}). Pass a new folder.")


def _is_ours(to: str, out: Path) -> bool:
    """Whether realuid wrote a file."""
    known = FORMATS[to].ours
    try:
        return known is None or bool(known(out))
    except CheckpointError:
        return False
    except ImportError:  # of what writes the format, too, which says so
        return True


def is_export(folder: Path) -> bool:
    """Whether realuid exported something to a folder."""
    return (folder / ABOUT).is_file()
