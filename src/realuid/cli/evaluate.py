"""realuid evaluate MODEL ...: compute metrics of models."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from realuid.cli.options import ModelOptions, asked_data, console, parse, print_json, refuse_pairs
from realuid.devices import choose_device
from realuid.errors import CheckpointError, ConfigError
from realuid.files import check_writable, write_json
from realuid.recipes import DataConfig, EvaluateConfig
from realuid.recipes.run import recipe_of_run
from realuid.text import fd_name

if TYPE_CHECKING:
    from realuid.models import MatchingModel
    from realuid.sampling import OneStep


@dataclass(frozen=True)
class Options:
    """Compute FD, KID, precision and recall over several seeds, and images per second."""

    #: Models: folders of realuid or diffusers, files of EDM, SiD, torchcfm or the RealUID authors, Hub ids, exported
    #: students.
    models: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="MODEL")]
    #: Data to compare with; by default the first model's training data.
    data: DataConfig = field(default_factory=lambda: DataConfig(source=""))
    evaluate: Annotated[EvaluateConfig, tyro.conf.arg(name="")] = field(default_factory=EvaluateConfig)
    #: Also write the metrics to this JSON file: an object for one model, a list for several.
    out: Path | None = None
    #: Print the metrics as JSON instead of a table.
    json: bool = False
    #: Device: auto (CUDA if available; ONNX files run on the CPU), cpu or cuda.
    device: str = "auto"
    loading: Annotated[ModelOptions, tyro.conf.arg(name="")] = field(default_factory=ModelOptions)


def run(arguments: Sequence[str]) -> None:
    """Run the command."""
    options = parse(Options, "evaluate", arguments)
    if how := _of_run(options.models[:1]):
        options = parse(Options, "evaluate", arguments, Options((), evaluate=how))

    import torch

    from realuid.cli.options import load_sampled
    from realuid.processes import join
    from realuid.recipes.evaluate import check_evaluation, evaluate_model, images_per_second, make_evaluator
    from realuid.recipes.prompts import evaluate_prompts, prompts_of

    if not options.models:
        raise ConfigError("no model was passed. Pass one or more: folders, files, Hub ids or exported students.")
    if options.out:
        check_writable(options.out, *options.models, options.data.source)
    device = choose_device(options.device)
    part = join(device)
    models = {name: load_sampled(name, options.loading, options.device) for name in options.models}
    chosen = asked_data(options.models[0], options.data)
    data, settings = chosen.load(), {name: _settings_for(model, options) for name, model in models.items()}
    for name, model in models.items():
        refuse_pairs(model, options.data)
        check_evaluation(model, data, settings[name])
    if options.evaluate.prompts and not data.text_from.source:
        raise ConfigError(
            f"prompts = {options.evaluate.prompts}, but '{chosen.source}' has no embeddings of captions. Pass "
            "--data.prompt-encoder, or data that `realuid prepare --prompt-encoder` wrote."
        )
    asked = prompts_of(data, options.evaluate) if options.evaluate.prompts else None
    evaluator = make_evaluator(data, options.evaluate, device)
    found: list[dict[str, Any]] = []
    try:
        for name, model in models.items():
            rate = images_per_second({name: model}, data, settings[name])[name]
            figures = {
                "model": name,
                "data": chosen.source,
                **evaluator.describe(),
                **evaluate_model(model, evaluator, settings[name], part=part).to_dict(),
                **({} if asked is None else {"prompts": evaluate_prompts(model, data, asked, settings[name])}),
                "images_per_second": part.total(torch.tensor(rate)).item(),
                "processes": part.world,
                "settings": dataclasses.asdict(settings[name]),
            }
            found.append(figures | _published(name))
            if options.out and part.rank == 0:
                write_json(options.out, found if len(models) > 1 else found[0])
    finally:  # what was found is not lost where a later model fails
        if found:
            _show(options, chosen.source, found if len(models) > 1 else found[0], found)


def _of_run(models: Sequence[str]) -> EvaluateConfig | None:
    """What the recipe of a run, or of a model in one, says of evaluations: options win."""
    names = ("extractor", "inception_weights", "samples", "seeds", "steps")
    for folder in (place for model in models for place in (Path(model), Path(model).parent)):
        try:
            said = recipe_of_run(folder).evaluate
        except (CheckpointError, ConfigError, OSError, ValueError):
            continue
        return EvaluateConfig(**{name: getattr(said, name) for name in names})
    return None


def _show(options: Options, source: str, written: object, found: list[dict[str, Any]]) -> None:
    """Print the metrics of the models that were evaluated, as a table or as they are written."""
    if options.json:
        print_json(written)
        return
    from realuid.cli.tables import metrics_table

    s = options.evaluate
    title = f"{s.samples:,} samples, {s.seeds} seed{'s' if s.seeds > 1 else ''}, against {source}"
    rows = [{"name": figures["model"], **figures} for figures in found]
    console.print(metrics_table(title, fd_name(found[0]), rows), soft_wrap=False, width=_width())
    if options.out:
        console.print(f"figures: {options.out}")


def _width() -> int | None:
    """Of the table: the terminal's; a file has all the room that paths of models need."""
    return None if console.is_terminal else 200


def _settings_for(model: MatchingModel | OneStep, options: Options) -> EvaluateConfig:
    """The settings for one of several models: a sampler, guidance and clipping are those of the teachers."""
    from realuid.models import MatchingModel

    if isinstance(model, MatchingModel) or len(options.models) == 1:
        return options.evaluate
    return dataclasses.replace(options.evaluate, sampler=None, guidance=None, clip=None)


def _published(name: str) -> dict[str, float]:
    """The published FID of a model of realuid, if its recipe has one."""
    from realuid.exports import is_exported
    from realuid.loaders import local_path, model_folder, recognise
    from realuid.models.saving.folder import read_config

    if is_exported(Path(name)) or recognise(local_path(name)) != "realuid":
        return {}
    about = read_config(model_folder(name))
    return {key: about[key] for key in ("published_fid",) if key in about}
