"""realuid sample MODEL: draw images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import torch
import tyro

from realuid.cli.options import ModelOptions, console, parse
from realuid.data.writers import write_samples
from realuid.devices import choose_device
from realuid.errors import ConfigError
from realuid.exports import load_any
from realuid.exports.onnx import OnnxStudent
from realuid.sampling import balanced_labels, generate


@dataclass(frozen=True)
class Options:
    """Draw images from a teacher (many calls) or a one-step generator."""

    #: A model: a folder of realuid or diffusers, a file of EDM, SiD, torchcfm or the RealUID authors, a hub id;
    #: or what `realuid export` wrote.
    model: tyro.conf.Positional[str]
    #: Where to: one .png (a grid), a .zip (EDM layout) or a folder of PNG files.
    out: Path = Path("samples.png")
    #: How many images.
    count: int = 64
    #: Classes to draw, in turn; by default all of them (conditional models).
    classes: tuple[int, ...] = ()
    #: Steps of a teacher.
    steps: int = 50
    #: How a teacher is sampled. None: its path's own way.
    sampler: str | None = None
    seed: int = 0
    batch: int = 256
    #: auto (CUDA where there is one; ONNX files run on the CPU), cpu or cuda.
    device: str = "auto"
    loading: Annotated[ModelOptions, tyro.conf.arg(name="")] = field(default_factory=ModelOptions)


def run(arguments: Sequence[str]) -> None:
    """Carry out the command."""
    options = parse(Options, "sample", arguments)
    if options.count < 1 or options.batch < 1:
        raise ConfigError(f"count = {options.count}, batch = {options.batch}: both must be at least 1.")
    device = choose_device(options.device)
    model = load_any(options.model, kind=options.loading.kind, key=options.loading.key)
    model = model.to("cpu" if isinstance(model, OnnxStudent) and options.device == "auto" else device)
    labels = class_labels(options, model.num_classes)
    batches = generate(
        model,
        options.count,
        labels=labels,
        steps=options.steps,
        sampler=options.sampler,
        seed=options.seed,
        batch=options.batch,
    )
    write_samples(batches, options.out, labels)
    console.print(f"{options.count} images: {options.out}", highlight=False)


def class_labels(options: Options, num_classes: int) -> torch.Tensor | None:
    """The label of every sample, or an error where classes and model do not fit."""
    if not num_classes:
        if options.classes:
            raise ConfigError(f"--classes {' '.join(map(str, options.classes))}: the model is not conditional.")
        return None
    for label in options.classes:
        if not 0 <= label < num_classes:
            raise ConfigError(f"--classes {label}: allowed are 0 to {num_classes - 1}.")
    chosen = torch.tensor(options.classes or range(num_classes))
    return chosen[balanced_labels(options.count, len(chosen))]
