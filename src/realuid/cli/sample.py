"""realuid sample MODEL: sample images."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from realuid.cli.options import ModelOptions, asked_data, console, load_sampled, parse
from realuid.devices import choose_device
from realuid.errors import ConfigError
from realuid.recipes import DataConfig
from realuid.settings import MOST_BATCH, MOST_SAMPLES, check_whole

if TYPE_CHECKING:
    import torch

    from realuid.data import Dataset
    from realuid.models import Condition, MatchingModel
    from realuid.sampling import OneStep


#: No data was given.
NO_DATA = DataConfig(source="")


@dataclass(frozen=True)
class Options:
    """Sample images from a teacher (many calls) or a student (one or a few)."""

    #: A model: a folder of realuid or diffusers, a file of EDM, SiD, torchcfm or the RealUID authors, a Hub id, or an
    #: exported student.
    model: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="MODEL")]
    #: Output: one .png (a grid), a .zip (EDM layout), a .tar (webdataset) or a folder of PNG files.
    out: Path = Path("samples.png")
    #: Number of images; None: 64, or a multiple of the number of prompts near it.
    count: int | None = None
    #: Prompts to sample in turn (models that read prompts), or a text file with one a line.
    prompts: tuple[str, ...] = ()
    #: Encoder of the prompts: words, minilm, or a folder or Hub id. None: the model's.
    prompt_encoder: str | None = None
    #: Further or other conditions of the model: a .safetensors file of tensors by name, one row for each image.
    condition: Path | None = None
    #: Height and width of the images in pixels, of text-to-image models of diffusers and their students. None: the
    #: model's.
    size: tuple[int, ...] | None = None
    #: Classes to sample in turn, by name or number (conditional models). Empty: all, as often as in the training data.
    classes: tuple[str, ...] = ()
    #: Data of the source images (coupled paths); by default the model's training data.
    data: DataConfig = field(default_factory=lambda: NO_DATA)
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
    options = parse(Options, "sample", arguments)

    import torch

    from realuid.data import save_grid, save_image
    from realuid.data.captions import listed_prompts
    from realuid.data.writers import SAMPLES, check_out, write_samples
    from realuid.on_data import conditions, sample_image
    from realuid.processes import join
    from realuid.progress import track
    from realuid.sampling import Sampling, check_use, generate
    from realuid.training.compatibility import check_fits

    prompts = listed_prompts(options.prompts)
    usual = len(prompts) * max(1, 64 // len(prompts)) if prompts else 64
    count = check_whole("count", usual if options.count is None else options.count, 1, MOST_SAMPLES)
    check_whole("batch", options.batch, 1, MOST_BATCH)
    check_out(options.out, SAMPLES, options.data.source)
    part = join(choose_device(options.device))
    model = load_sampled(options.model, options.loading, options.device, options.size)
    check_use(model, options.sampler, options.guidance, options.calls, options.steps, options.clip)
    refuse_videos(options.model, model)
    chosen = chosen_classes(options, model)
    if model.coupled:
        whole = asked_data(options.model, options.data).load()
        check_fits(model, whole)
        data = pairs_of_classes(whole, chosen)
        given = conditions(model, data, count)
        if prompts or options.condition is not None:
            given = given.replace(**asked_condition(options, model, prompts, count))
    else:
        refuse_data(options.data)
        asked = asked_condition(options, model, prompts, count)
        given = Sampling(labels=class_labels(chosen, count), condition=asked).condition_of(model, count)
    batches = generate(
        model,
        count,
        condition=given,
        steps=options.steps,
        sampler=options.sampler,
        guidance=options.guidance,
        clip=options.clip,
        calls=options.calls,
        seed=options.seed,
        batch=options.batch,
        part=part,
    )
    batches = track(part.collect(batches, count, options.batch), "sampling", count, options.batch)
    if part.rank > 0:
        deque(batches, maxlen=0)  # generates this process's batches
    elif model.coupled and options.out.suffix == ".png":
        save_image(sample_image(model, data, torch.cat(list(batches))), options.out)
    elif 1 < len(prompts) <= 16 and options.out.suffix == ".png":
        save_grid(torch.cat(list(batches)), options.out, len(prompts))  # a column for each
    else:
        write_samples(batches, options.out, given.get("label"))
    by = f", by {part.world} processes" if part.world > 1 else ""
    console.print(f"{count} images{by}: {options.out}")


def refuse_videos(name: str, model: MatchingModel | OneStep) -> None:
    """Raise ConfigError for a model of videos."""
    if len(model.image_shape) == 4:
        raise ConfigError(
            f"'{name}' makes videos, which are not written here. Sample them in Python, by realuid.sample, or "
            "export the model to diffusers."
        )


def refuse_data(asked: DataConfig) -> None:
    """Raise ConfigError for data of a model that reads none."""
    for name, value in ((f.name, getattr(asked, f.name)) for f in dataclasses.fields(DataConfig)):
        if value != getattr(NO_DATA, name):
            raise ConfigError(f"data.{name} = {value}: the model starts from noise and reads no data. Leave it out.")


def asked_condition(options: Options, model: MatchingModel | OneStep, prompts: list[str], count: int) -> Condition:
    """The prompts of so many samples, and what the file of conditions holds."""
    from safetensors.torch import load_file

    from realuid.loaders.prompts import prompt_condition
    from realuid.models import Condition
    from realuid.models.prompts import TEXT

    given = Condition()
    if options.condition is not None:
        try:
            given = Condition(load_file(options.condition))
        except Exception as error:  # damage surfaces as SafetensorError, ValueError, OSError, ...
            raise ConfigError(f"--condition {options.condition} cannot be read as safetensors ({error}).") from error
    if prompts:
        return given.replace(**prompt_condition(model, prompts, count, options.prompt_encoder or ""))
    if options.prompt_encoder is not None:
        raise ConfigError(f"--prompt-encoder {options.prompt_encoder} without --prompts has no effect. Leave it out.")
    if TEXT not in given and any(spec.name == TEXT for spec in model.conditions):
        raise ConfigError("the model reads prompts: pass --prompts, texts or a file with one a line.")
    return given


def pairs_of_classes(data: Dataset, classes: tuple[int, ...]) -> Dataset:
    """The data, or only its pairs of the requested classes; each class needs a pair."""
    import torch

    if not classes:
        return data
    assert data.labels is not None, "a conditional model fits no other data"
    there = data.labels.unique().tolist()
    for label in classes:
        if label not in there:
            raise ConfigError(
                f"--classes {label}: '{data.name}' has no pair of this class, only of {', '.join(map(str, there))}. "
                "Choose among them, or pass other --data.source."
            )
    return data.subset(torch.isin(data.labels, torch.tensor(classes)))


def chosen_classes(options: Options, model: MatchingModel | OneStep) -> tuple[int, ...]:
    """Numbers of the requested classes, or an error if the model does not have them."""
    from realuid.sampling.classes import class_number

    if options.classes and not model.num_classes:
        raise ConfigError(f"--classes {' '.join(options.classes)}: the model is not conditional.")
    return tuple(class_number(n, model.class_names, model.num_classes, "--classes") for n in options.classes)


def class_labels(chosen: tuple[int, ...], count: int) -> torch.Tensor | None:
    """The label of every sample: the chosen classes in turn; None where none were chosen."""
    import torch

    return torch.tensor(chosen)[torch.arange(count) % len(chosen)] if chosen else None
