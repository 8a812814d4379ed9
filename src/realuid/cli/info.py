"""realuid info WHAT: say what a model, a run, a recipe or a data set is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from realuid.cli.options import console, parse
from realuid.data import load_dataset
from realuid.models import count_parameters
from realuid.models.saving import CONFIG, read_config
from realuid.recipes import dump_recipe, load_recipe, recipe_names
from realuid.teachers import load_model, model_folder


@dataclass(frozen=True)
class Options:
    """Say what something is. Without an argument: list the recipes."""

    #: A model folder, a run folder, a recipe or a data set.
    what: tyro.conf.Positional[str] = ""


def run(arguments: Sequence[str]) -> None:
    """Carry out the command."""
    what = parse(Options, "info", arguments).what
    if not what:
        for name in recipe_names():
            console.print(f"{name:<16} {load_recipe(name).description}", highlight=False)
    elif what in recipe_names() or Path(what).suffix in (".yaml", ".yml"):
        console.print(dump_recipe(load_recipe(what)), highlight=False, markup=False)
    elif any((Path(what) / name / CONFIG).is_file() for name in ("", "best", "model")):
        _model(what)
    else:
        data = load_dataset(what)
        classes = f", {data.num_classes} classes" if data.num_classes else ""
        pairs = ", in pairs with their sources" if data.sources is not None else ""
        console.print(f"{data.name}: {len(data)} samples of shape {data.shape}{classes}{pairs}", highlight=False)


def _model(path: str) -> None:
    folder = model_folder(path)
    model = load_model(path)
    console.print(f"{folder}: {count_parameters(model):,} parameters", highlight=False)
    console.print_json(json.dumps(read_config(folder)))
