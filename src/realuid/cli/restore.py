"""realuid restore MODEL IMAGES OUT: restore degraded images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from realuid.cli.options import ModelOptions, console, load_sampled, parse
from realuid.errors import ConfigError
from realuid.settings import MOST_BATCH, check_whole

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Options:
    """Restore degraded images, with a student in one call or a few, or with a teacher in many."""

    #: A model, as for `realuid sample`, or an exported student.
    model: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="MODEL")]
    #: Folder or zip of degraded images, of the model's size or an integer fraction of it.
    images: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="IMAGES")]
    #: Output: a new folder or a .zip; images keep their names and are saved as PNG.
    out: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="OUT")]
    #: Class of all images (conditional models).
    label: int | None = None
    #: Number of calls of a student. None: all.
    calls: int | None = None
    #: Sampling steps of a teacher; a student makes calls.
    steps: int = 50
    #: Sampler of a teacher: ddim, euler, heun, ancestral, dpm_solver, sde, or sde:0.5 (half the diffusion coefficient).
    #: None: its path's default.
    sampler: str | None = None
    #: Scale of classifier-free guidance of a teacher; 1: no guidance. None: the usual one of a text-to-image pipeline,
    #: else 1.
    guidance: float | None = None
    #: Keep a teacher's data predictions within limits while sampling. None: as its diffusers scheduler does.
    clip: bool | None = None
    #: Seed of the noise.
    seed: int = 0
    #: Batch size.
    batch: int = 256
    #: Device: auto (CUDA if available; ONNX files run on the CPU), cpu or cuda.
    device: str = "auto"
    loading: Annotated[ModelOptions, tyro.conf.arg(name="")] = field(default_factory=ModelOptions)


def run(arguments: Sequence[str]) -> None:
    """Run the command."""
    options = parse(Options, "restore", arguments)

    from realuid.data import to_float
    from realuid.data.pairs import read_inputs
    from realuid.data.writers import NAMED, check_out, write_named
    from realuid.sampling import check_use, generate

    check_whole("batch", options.batch, 1, MOST_BATCH)
    check_out(options.out, NAMED, options.images)
    model = load_sampled(options.model, options.loading, options.device)
    if not model.coupled:
        raise ConfigError(
            f"'{options.model}' starts from noise, not from images. Use `realuid sample`, or a model of a coupled path."
        )
    check_use(model, options.sampler, options.guidance, options.calls, options.steps, options.clip)
    names, sources = read_inputs(options.images, model.shape)
    batches = generate(
        model,
        len(names),
        labels=_labels(options, model.num_classes, len(names)),
        sources=to_float(sources),
        steps=options.steps,
        sampler=options.sampler,
        guidance=options.guidance,
        clip=options.clip,
        calls=options.calls,
        seed=options.seed,
        batch=options.batch,
    )
    write_named(batches, names, options.out)
    console.print(f"{len(names)} images: {options.out}")


def _labels(options: Options, num_classes: int, count: int) -> torch.Tensor | None:
    import torch

    if not num_classes:
        if options.label is not None:
            raise ConfigError(f"--label {options.label}: the model is not conditional.")
        return None
    if options.label is None or not 0 <= options.label < num_classes:
        raise ConfigError(f"--label {options.label}: the model is conditional, allowed are 0 to {num_classes - 1}.")
    return torch.full((count,), options.label)
