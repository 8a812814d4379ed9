"""realuid prepare SOURCE OUT: convert data to a folder that is read from disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from realuid.cli.options import console, parse, say_next
from realuid.errors import ConfigError, RealUIDError

if TYPE_CHECKING:
    from realuid.data import Dataset
    from realuid.models import Codec, MatchingModel
    from realuid.models.prompts import PromptEncoder


@dataclass(frozen=True)
class Options:
    """Convert data to a folder of Arrow files: cropped, resized and encoded once, and read from disk during training.

    An interrupted command goes on where it stopped when it is given again.
    """

    #: 'digits', 'toy:NAME', 'hf:NAME', a folder of images, a zip, a tar, or a folder of Arrow files; with captions in
    #: metadata.jsonl or .csv, in .txt files beside the images, or in a column of text.
    source: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="SOURCE")]
    #: New folder; pass it as --data.source.
    out: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="OUT")]
    #: Model that is to be distilled: images get its size, latents its autoencoder, prompts its text encoders.
    teacher: str | None = None
    #: Autoencoder of the latents, if not the teacher's: a folder of diffusers.
    autoencoder: str | None = None
    #: Encoder of prompts, if not the teacher's: a name (words, minilm), or a folder of a pipeline or sentence encoder.
    prompt_encoder: str | None = None
    #: Prompts for generated samples, one a line, instead of the captions.
    prompts: Path | None = None
    #: Convert images to 1 (grey) or 3 (RGB) channels. None: unchanged, or the teacher's.
    channels: int | None = None
    #: Side length to crop and resize images to. None: unchanged, or the teacher's; text-to-image teachers take any.
    resolution: int | None = None
    #: Keep aspect ratios: images of several sizes, each at most resolution x resolution in area, for text-to-image
    #: teachers. Every batch of training is of one size.
    buckets: bool = False
    #: Sides of buckets are multiples of it. None: an eighth of the resolution, at most 64.
    bucket_step: int | None = None
    #: Sources of the pairs, for coupled paths: a degradation, or a folder or zip of images with the same names.
    pairs: str | None = None
    #: Seed of random degradations (inpaint-freeform).
    pairs_seed: int = 0
    #: Skip images that cannot be read instead of raising an error.
    skip_damaged: bool = False
    #: Device of the autoencoder: auto (CUDA if available), cpu or cuda.
    device: str = "auto"


def run(arguments: Sequence[str]) -> None:
    """Carry out the command."""

    options = parse(Options, "prepare", arguments)
    if options.bucket_step is not None and not (options.buckets and options.bucket_step > 0):
        raise ConfigError(f"bucket_step = {options.bucket_step}: allowed are positive numbers, with --buckets.")
    if options.out.exists():
        raise ConfigError(f"'{options.out}' is there already. Pass a new folder.")

    from realuid.data import absolute_source, load_dataset
    from realuid.data.captions import read_prompts
    from realuid.devices import choose_device
    from realuid.loaders import load_teacher
    from realuid.on_data.prepare import encoding_of, prepare

    teacher = load_teacher(options.teacher) if options.teacher else None
    channels, resolution = _size(options, teacher)
    encoder, codec = _encoder(options, teacher), _codec(options, teacher)
    prompts = read_prompts(options.prompts) if options.prompts else ()
    where = absolute_source(options.autoencoder or options.teacher or "")
    encoding = encoding_of(codec, where, encoder, prompts, choose_device(options.device))
    named = (options.pairs, options.pairs_seed, options.skip_damaged)
    data = load_dataset(options.source, channels, None if options.buckets else resolution, *named, by_row=True)
    data = _in_buckets(data, options, resolution, teacher, codec) if options.buckets else data
    with _shown() as progress:
        prepare(data, options.out, encoding, progress)
    del data  # names of files, captions: what is read next takes its place in memory
    console.print(f"{load_dataset(str(options.out))}: {options.out}", highlight=False, markup=False)
    if options.teacher:
        say_next(f"realuid distill --teacher {options.teacher} --data.source {options.out} --out runs/student")
    else:
        say_next(f"realuid train --data.source {options.out} --out runs/teacher")


def _size(options: Options, teacher: MatchingModel | None) -> tuple[int | None, int | None]:
    """Channels and resolution that images are converted to."""
    from realuid.models import resize
    from realuid.models.networks.prompted import PromptNetwork

    if teacher is None or len(teacher.image_shape) != 3:
        return options.channels, options.resolution
    if isinstance(teacher.network, PromptNetwork) and (side := options.resolution) is not None:
        resize(teacher, (side, side))
    channels, height, width = teacher.image_shape
    for name, asked, needed in (("channels", options.channels, channels), ("resolution", options.resolution, height)):
        if asked not in (None, needed):
            raise ConfigError(f"{name} = {asked}, but images of the teacher have {needed}. Leave {name} out.")
    return channels, height if height == width else None


def _in_buckets(
    data: Dataset, options: Options, resolution: int | None, teacher: MatchingModel | None, codec: Codec | None
) -> Dataset:
    """The data in sizes that the teacher makes."""
    from realuid.data.buckets import bucket_step, in_buckets
    from realuid.on_data import adopt_size

    if resolution is None:
        raise ConfigError("buckets need the side of a square of their area. Pass --resolution.")
    step = options.bucket_step or bucket_step(resolution, codec.factor if codec else 1)
    data = in_buckets(data, resolution, step)
    try:
        if teacher is not None:
            adopt_size(teacher, data)
        for part in data.sizes:
            if codec is not None:
                codec.latent_size(part.shape[1:])
    except RealUIDError as error:
        raise ConfigError(f"buckets in steps of {step}: {error} Pass another --bucket-step.") from error
    return data


def _codec(options: Options, teacher: MatchingModel | None) -> Codec | None:
    from realuid.loaders.codecs import load_autoencoder

    return load_autoencoder(options.autoencoder) if options.autoencoder else teacher.codec if teacher else None


def _encoder(options: Options, teacher: MatchingModel | None) -> PromptEncoder | None:
    """The encoder of prompts, which has to make what the teacher reads."""
    from realuid.data import absolute_source
    from realuid.loaders.prompts import ENCODERS, load_prompt_encoder
    from realuid.models import required

    wanted = [spec for spec in teacher.network.conditions if spec.kind in ("text", "vector")] if teacher else []
    source = options.prompt_encoder or (teacher.prompts if teacher and wanted else "")
    if not source:
        if wanted:
            raise ConfigError(f"'{options.teacher}' reads prompts, but has no text encoder. Pass --prompt-encoder.")
        return None
    encoder = load_prompt_encoder(source if source in ENCODERS else absolute_source(source))
    if wanted:
        null = encoder.null()
        needed = {name for spec in wanted for name in spec.names}
        required(wanted, {name: value for name, value in null.items() if name in needed}, 1)
    return encoder


@contextmanager
def _shown() -> Iterator[Callable[[str, int, int], None]]:
    """Progress bars of what is done, one for each kind."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def progress(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done)

        yield progress
