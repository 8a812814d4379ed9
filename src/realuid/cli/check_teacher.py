"""realuid check-teacher TEACHER: check whether a teacher denoises the data, and under which conventions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from rich.table import Table

from realuid.cli.options import console, parse, refuse_pairs, say_next
from realuid.devices import choose_device
from realuid.errors import CheckpointError
from realuid.files import check_writable
from realuid.recipes import DataConfig

if TYPE_CHECKING:
    from realuid.loaders.readings import Check, Finding


#: Readings in the table beside the declared one at most, and the relative difference of errors below which two are one.
_SHOWN, _ALIKE = 6, 0.05


@dataclass(frozen=True)
class Options:
    """Denoise real data in one step under the declared and all other conventions, to find those that fit."""

    #: The teacher: a folder of realuid or diffusers, a file of EDM, torchcfm or the RealUID authors, or a Hub id.
    teacher: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="TEACHER")]
    #: The data for the distillation.
    data: DataConfig = field(default_factory=DataConfig)
    #: Which weights, if a file holds several: an EMA decay, or 'raw'.
    key: str | None = None
    #: PNG file for noisy and denoised images, by increasing noise.
    out: Path = Path("check-teacher.png")
    #: Number of images.
    images: int = 64
    #: Also try other ranges of values when the declared one fits.
    thorough: bool = False
    #: Seed of the noise and the choice of images.
    seed: int = 0
    #: Device: auto (CUDA if available), cpu or cuda.
    device: str = "auto"


def run(arguments: Sequence[str]) -> None:
    """Run the command; exit code 2 if the conventions do not fit."""
    options = parse(Options, "check-teacher", arguments)

    from realuid.data import save_grid
    from realuid.loaders import load_teacher
    from realuid.loaders.check import check_teacher
    from realuid.training.compatibility import check_fits

    check_writable(options.out, options.teacher, options.data.source)
    teacher = load_teacher(options.teacher, key=options.key).to(choose_device(options.device))
    refuse_pairs(teacher, options.data)
    data = options.data.load()
    check_fits(teacher, data)
    check = check_teacher(teacher, data, images=options.images, seed=options.seed, thorough=options.thorough)
    console.print(_table(check))
    if data.is_image:
        save_grid(check.pictures, options.out, check.columns)
        console.print(f"one-step denoisings: {options.out}")
    if not check.ok:
        raise CheckpointError(check.verdict)
    console.print(check.verdict)
    say_next(f"realuid distill --teacher {options.teacher} --data.source {options.data.source} --out runs/student")


def _table(check: Check) -> Table:
    """The declared conventions and the best ones: error / error of the best linear denoiser, by noise level."""
    table = Table(title="denoising error / that of the best linear denoiser, by increasing noise")
    table.add_column("reading")
    for _ in check.declared.errors:
        table.add_column(justify="right")
    table.add_column("mean", justify="right")
    seen: list[Finding] = []
    for finding in dict.fromkeys([check.declared, *check.findings]):
        if len(seen) > _SHOWN or any(_alike(finding, other) for other in seen):
            continue
        seen.append(finding)
        ratios = [f"{e / t:.2g}" for e, t in zip(finding.errors, finding.trivial, strict=True)]
        mark = " (declared)" if finding is check.declared else ""
        table.add_row(f"{finding.reading}{mark}", *ratios, f"{finding.score:.2g}")
    return table


def _alike(one: Finding, other: Finding) -> bool:
    """Whether two readings are the same on this path, as those that differ in rounding the time to steps may be."""
    return all(abs(a - b) <= _ALIKE * b for a, b in zip(one.errors, other.errors, strict=True))
