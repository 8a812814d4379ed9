"""realuid prepare SOURCE OUT: convert data to a folder that is read from disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from realuid.cli.options import console, parse
from realuid.errors import ConfigError


@dataclass(frozen=True)
class Options:
    """Convert data to a folder of Arrow files: cropped and resized once, and read from disk during training."""

    #: 'digits', 'toy:NAME', 'hf:NAME', a folder of images, a zip in the EDM layout, a tar, or a folder of Arrow files.
    source: tyro.conf.Positional[str]
    #: New folder; pass it as --data.source.
    out: tyro.conf.Positional[Path]
    #: Convert images to 1 (grey) or 3 (RGB) channels. None: unchanged.
    channels: int | None = None
    #: Side length to crop and resize images to. None: unchanged.
    resolution: int | None = None
    #: Sources of the pairs, for coupled paths: a degradation, or a folder or zip of images with the same names.
    pairs: str | None = None
    #: Seed of random degradations (inpaint-freeform).
    pairs_seed: int = 0
    #: Skip images that cannot be read instead of raising an error.
    skip_damaged: bool = False


def run(arguments: Sequence[str]) -> None:
    """Carry out the command."""

    options = parse(Options, "prepare", arguments)

    from realuid.data import load_dataset
    from realuid.data.arrow import is_arrow
    from realuid.data.arrow_writer import write_arrow, write_arrow_from_files
    from realuid.data.images import Reading

    if options.out.exists():
        raise ConfigError(f"'{options.out}' is there already. Pass a new folder.")
    how = Reading(options.channels, options.resolution, options.skip_damaged)
    plain = Path(options.source).exists() and options.pairs is None and not is_arrow(options.source)
    if not (plain and write_arrow_from_files(options.source, options.out, how)):
        named = (options.pairs, options.pairs_seed, options.skip_damaged)
        write_arrow(load_dataset(options.source, options.channels, options.resolution, *named), options.out)
    console.print(f"{load_dataset(str(options.out))}: {options.out}", highlight=False, markup=False)
