"""realuid convert IN OUT: convert a model to another format."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from realuid.cli.options import ModelOptions, console, parse, say_next
from realuid.errors import ConfigError
from realuid.loaders import ADMOptions


@dataclass(frozen=True)
class Options:
    """Convert a model to another format."""

    #: A model: a folder of realuid or diffusers, a file of EDM, SiD, torchcfm or the RealUID authors, or a Hub id.
    model: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="MODEL")]
    #: Output: a new folder, or for torchcfm a new file.
    out: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="OUT")]
    #: Format: a realuid folder, or a checkpoint for the scripts of torchcfm and the RealUID authors.
    to: Literal["realuid", "torchcfm"] = "realuid"
    loading: Annotated[ModelOptions, tyro.conf.arg(name="")] = field(default_factory=ModelOptions)
    #: Properties of a torchcfm network that its weights do not determine.
    adm: ADMOptions = field(default_factory=ADMOptions)


def run(arguments: Sequence[str]) -> None:
    """Run the command."""
    options = parse(Options, "convert", arguments)

    from realuid.loaders import load_model, local_path, recognise, save_torchcfm_student, save_torchcfm_teacher
    from realuid.models import Student, save_pretrained

    if options.out.exists():
        raise ConfigError(f"'{options.out}' is there already. Pass a new name.")
    source = local_path(options.model)
    _check_adm(options, source)
    model = load_model(source, kind=options.loading.kind, key=options.loading.key, adm=options.adm)
    if options.to == "realuid":
        save_pretrained(model, options.out, converted={"from": options.model, "format": recognise(source)})
    elif isinstance(model, Student):
        save_torchcfm_student(model, options.out, new_attention_order=options.adm.new_attention_order)
    else:
        save_torchcfm_teacher(model, options.out, new_attention_order=options.adm.new_attention_order)
    console.print(f"converted to {options.to}: {options.out}")
    if options.to == "realuid":
        say_next(f"realuid info {options.out}", f"realuid sample {options.out}")


def _check_adm(options: Options, source: Path) -> None:
    """Raise ConfigError for settings of torchcfm's networks where no such network is read or written."""
    from realuid.loaders import recognise

    if recognise(source) == "torchcfm":
        return
    written = {"new_attention_order"} if options.to == "torchcfm" else set()
    for setting in dataclasses.fields(ADMOptions):
        value = getattr(options.adm, setting.name)
        if value != setting.default and setting.name not in written:
            raise ConfigError(
                f"adm.{setting.name} = {value}: only for checkpoints of torchcfm, and '{options.model}' is none. Leave "
                "it out."
            )
