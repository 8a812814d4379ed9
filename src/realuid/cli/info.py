"""realuid info [NAME]: describe a model, a run, a recipe or a data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from realuid.cli.options import ModelOptions, console, parse, print_json
from realuid.files import sha256
from realuid.recipes import dump_recipe, load_recipe, recipe_names

if TYPE_CHECKING:
    from realuid.models import MatchingModel, Student


#: Names of data sets that may also be names of recipes: both are described.
NAMED_SOURCES = ("digits", "coloured-digits", "coloured-digits:held-out")


@dataclass(frozen=True)
class Options:
    """Describe a model, a run, a recipe or a data set. Without an argument: list the recipes."""

    #: A model (a folder, a file or a Hub id), a run folder, a recipe or a data set.
    what: tyro.conf.Positional[str] = ""
    loading: Annotated[ModelOptions, tyro.conf.arg(name="")] = field(default_factory=ModelOptions)


def run(arguments: Sequence[str]) -> None:
    """Run the command."""
    options = parse(Options, "info", arguments)

    from realuid.exports import is_exported
    from realuid.loaders import is_model

    what = options.what
    if not what:
        for name in recipe_names():
            console.print(f"{name:<16} {load_recipe(name).description}")
    elif what in recipe_names() or Path(what).suffix in (".yaml", ".yml"):
        console.print(dump_recipe(load_recipe(what)))
        if what in NAMED_SOURCES:
            _data(what)
    elif is_exported(Path(what)):
        _student(what)
    elif is_model(what):
        _model(what, options.loading)
    else:
        _data(what)


def _data(source: str) -> None:
    from realuid.data import load_dataset
    from realuid.data.labels import counted

    data = load_dataset(source)
    classes = f", {data.num_classes} classes" if data.num_classes else ""
    classes += f" ({counted(data.labels, data.classes)})" if data.class_names and data.labels is not None else ""
    pairs = ", in pairs with their sources" if data.sources is not None else ""
    console.print(f"{data.name}: {len(data)} samples of shape {data.shape}{classes}{pairs}")


def _student(what: str) -> None:
    """Inputs and outputs of an exported student, and how it was made."""
    from realuid.exports import ExportedStudent, load_any

    student = load_any(what)
    assert isinstance(student, ExportedStudent)
    contract = student.contract
    console.print(
        f"{what}: inputs {', '.join(contract.inputs)} of shape {contract.shape}, output images of shape "
        f"{contract.image_shape}{' as uint8' if contract.uint8 else ''}"
    )
    print_json(contract.about)


def _model(what: str, loading: ModelOptions) -> None:
    from realuid.exports import ExportedStudent, load_any
    from realuid.loaders import FORMATS, local_path, model_folder, recognise
    from realuid.models import count_parameters
    from realuid.models.saving.folder import read_config

    path = local_path(what)
    name = recognise(path)
    model = load_any(path, kind=loading.kind, key=loading.key)
    assert not isinstance(model, ExportedStudent)
    where = model_folder(path) if name == "realuid" else path
    console.print(f"{where}: {count_parameters(model):,} parameters")
    console.print(f"format: {FORMATS[name]}")
    print_json(read_config(where) if name == "realuid" else _imported(model, where))


def _imported(model: MatchingModel | Student, path: Path) -> dict[str, Any]:
    """Description of an imported model, and checksums of its files."""
    from realuid.models.saving.folder import describe

    files = [path] if path.is_file() else sorted(f for f in path.rglob("*") if f.is_file() and f.suffix != ".md")
    return {
        **describe(model),
        "shape": model.shape,
        "classes": model.num_classes,
        "images": model.image_shape,
        "sha256": {str(f.relative_to(path.parent)): sha256(f) for f in files},
    }
