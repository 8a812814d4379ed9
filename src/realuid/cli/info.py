"""realuid info [NAME]: describe a model, a run, a recipe or a data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from realuid.cli.describe import NAMED_SOURCES, demo_results, is_plain_data, sound_model
from realuid.cli.options import ModelOptions, console, parse, print_json, say_next
from realuid.cli.tables import results_table
from realuid.files import sha256
from realuid.recipes import dump_recipe, load_recipe, recipe_names
from realuid.settings import only_shown

if TYPE_CHECKING:
    from realuid.models import MatchingModel, Student


@dataclass(frozen=True)
class Options:
    """Describe a model, a run, a recipe or a data set. Without an argument: list the recipes."""

    #: A model (a folder, a file or a Hub id), a run folder, a recipe or a data set.
    what: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="NAME")] = ""
    loading: Annotated[ModelOptions, tyro.conf.arg(name="")] = field(default_factory=ModelOptions)


def run(arguments: Sequence[str]) -> None:
    """Run the command."""
    options = parse(Options, "info", arguments, tune=False)
    what = options.what
    if not what:
        with only_shown():
            for name in recipe_names():
                console.print(f"{name:<16} {load_recipe(name).description}")
        return
    if what in recipe_names() or Path(what).suffix in (".yaml", ".yml"):
        console.print(dump_recipe(load_recipe(what)))
        if what in NAMED_SOURCES:
            _data(what)
        return
    if options.loading == ModelOptions() and _written_by_realuid(Path(what)):
        return
    if is_plain_data(what):
        _data(what)
        return

    from realuid.exports import is_exported
    from realuid.loaders import is_model

    if is_exported(Path(what)):
        _student(what)
    elif is_model(what):
        _model(what, options.loading)
    else:
        _data(what)


def _written_by_realuid(path: Path) -> bool:
    """Describe a demo, or a model folder that is as it was written; False for anything else."""
    if (results := demo_results(path)) is not None:
        console.print(results_table(results), soft_wrap=False)
        names = ["teacher", *(row["name"] for row in results["students"])]
        say_next(*(f"realuid info {path / name}" for name in names))
        return True
    if (found := sound_model(path)) is None:
        return False
    folder, config, count = found
    console.print(f"{folder}: {count:,} parameters")
    console.print("format: realuid's own folder")
    print_json(config)
    return True


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
