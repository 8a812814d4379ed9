"""The model card: description, training settings, evaluation and usage of a student.

Descriptions of teacher and data in a model's files are untrusted text: the template escapes every value.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import ModelCardData
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from realuid._version import __version__
from realuid.exports.contract import Contract
from realuid.models import example
from realuid.models.networks.condition import LABEL, SOURCE
from realuid.objectives import main_coefficients
from realuid.text import fd_name, in_markdown, printable


@dataclass(frozen=True)
class Card:
    """What a card says that the model does not know.

    Attributes:
        name: title.
        location: what users pass to `from_pretrained`: a folder, or owner/name on the Hub.
        licence: identifier as the Hub spells it, such as 'apache-2.0'; empty where it is not stated.
        base: of LoRA files: the pipeline that they are loaded into.
        variant: of its weights, such as fp16.
        half: float16 or bfloat16, in which the pipeline is loaded; empty for float32.
        adapter: of LoRA files: that of the teacher, if it was a pipeline with an adapter.
        scheduler: class of the scheduler of a text-to-image student.
    """

    name: str
    location: str
    licence: str = ""
    base: str = ""
    variant: str = ""
    half: str = ""
    adapter: str = ""
    scheduler: str = ""


def model_card(
    contract: Contract, card: Card, own_code: str | None = None, call: Mapping[str, Any] | None = None
) -> str:
    """The text of README.md for an exported folder.

    Args:
        contract: of the student; its description may hold `distillation`, `teacher`, `data` and `measurement`.
        card: what it says besides.
        own_code: why the pipeline comes with code of its own, or None.
        call: arguments of a text-to-image pipeline besides a prompt and the number of steps.
    """
    prompted = any(spec.kind == "text" for spec in contract.conditions)
    header = ModelCardData(
        license=card.licence or None,
        library_name="diffusers",
        pipeline_tag="text-to-image" if prompted else "unconditional-image-generation",
        tags=["realuid", "one-step" if contract.calls == 1 else "few-step", "distillation"]
        + ["lora"] * bool(card.base),
        base_model=card.base if card.base and not Path(card.base).exists() else None,  # of the Hub
    )
    environment = Environment(
        loader=PackageLoader("realuid.exports"),
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
        finalize=lambda value: value if isinstance(value, Markup) else in_markdown(str(value)),
    )
    return environment.get_template("prompted_card.md" if prompted else "card.md").render(
        call=Markup("".join(f", {name}={value!r}" for name, value in (call or {}).items())),
        header=Markup(header.to_yaml()),
        card=card,
        location=Markup(_as_json(card.location)),
        base=Markup(_as_json(card.base)) if card.base else "",
        variant=Markup(f", variant={_as_json(card.variant)}") if card.variant else "",
        half=Markup(f", torch_dtype=torch.{card.half}") if card.half else "",
        adapter=Markup(_as_json(card.adapter)) if card.adapter else "",
        scheduler=card.scheduler,
        own_code=own_code,
        contract=contract,
        arguments=[Markup(line) for line in _arguments(contract)],
        made=list(_made(contract.about)),
        description=Markup(_as_json(contract.about, indent=2)),
        version=__version__,
    )


def _as_json(value: object, indent: int | None = None) -> str:
    """For a block of code: no line of it can end the block."""
    return printable(json.dumps(value, indent=indent, ensure_ascii=False))


def _arguments(contract: Contract) -> Iterator[str]:
    """Lines of the pipeline's call for 4 images: its conditions, and the number of steps."""
    called = {LABEL: "class_labels", SOURCE: "source"}
    for name, value in example(contract.conditions, 4).items():
        shown = f"torch.zeros({', '.join(map(str, value.shape))})"
        if name == LABEL:
            shown = "[0, 1, 0, 1]" if contract.num_classes > 1 else "[0, 0, 0, 0]"
        elif value.dtype == torch.bool:
            shown = f"torch.ones({', '.join(map(str, value.shape))}, dtype=torch.bool)"
        argument = called.get(name, name)
        given = f"{argument}={shown}," if argument.isidentifier() else f"**{{{_as_json(argument)}: {shown}}},"
        yield given + "  # your images, in [-1, 1]" * (name == SOURCE)
    if contract.calls > 1:
        yield f"num_inference_steps={contract.calls},"


def _made(about: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Rows of the table: how the student was made and measured."""
    settings, path, data, figures = (_section(about, name) for name in ("distillation", "path", "data", "measurement"))
    yield "teacher", _said(about, "teacher")
    yield "data", _said(data, "source")
    objective = _said(settings, "objective")
    yield "objective", objective
    coefficients = main_coefficients(objective)
    settings = {**settings, **{k: v for k, v in coefficients.items() if k in settings and settings[k] is None}}
    yield ", ".join(coefficients), ", ".join(_said(settings, name) for name in coefficients)
    times = about.get("times")
    if isinstance(times, list | tuple) and len(times) > 1:
        yield "path, times of calls", f"{_said(path, 'name')}, {', '.join(_number(t, '.6g') for t in times)}"
        yield "noise of later calls", _said(about, "renoise")
    else:
        start = times[0] if isinstance(times, list | tuple) and times else "not recorded"
        yield "path, start", f"{_said(path, 'name')}, t_init = {_number(start, '.6g')}"
    if not figures:
        yield "FD", "not measured"
        return
    mean, spread = _number(figures.get("fd_mean"), ".4g"), _number(figures.get("fd_std"), ".2g")
    seeds = figures.get("fd")
    seeds = len(seeds) if isinstance(seeds, list) else 1
    over = f" +- {spread} over {seeds} seeds" if seeds > 1 else ""
    yield fd_name(figures), f"{mean}{over} of {_said(figures, 'samples')} samples"
    yield "measured in", f"features {_said(figures, 'extractor')}, against {_said(figures, 'data')}"


def _section(about: dict[str, Any], name: str) -> dict[str, Any]:
    section = about.get(name)
    return section if isinstance(section, dict) else {}


def _said(section: dict[str, Any], name: str) -> str:
    value = section.get(name)
    return "not recorded" if value in (None, "") else str(value)


def _number(value: object, form: str) -> str:
    return format(value, form) if isinstance(value, int | float) else str(value)
