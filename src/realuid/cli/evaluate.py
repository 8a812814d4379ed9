"""realuid evaluate MODEL: measure a model."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from realuid.cli.options import console, parse
from realuid.data import load_dataset
from realuid.files import write_json
from realuid.models.saving import read_config
from realuid.recipes import DataConfig, EvaluateConfig
from realuid.recipes.run import images_per_second, make_evaluator, measure, measure_classes
from realuid.teachers import load_model, model_folder
from realuid.training.distill import check_fits


@dataclass(frozen=True)
class Options:
    """Measure FD, KID, precision and recall over several seeds, and images per second."""

    #: A model folder or a run folder.
    model: tyro.conf.Positional[str]
    #: What to compare with; by default the data the model was trained on.
    data: DataConfig = field(default_factory=lambda: DataConfig(source=""))
    evaluate: Annotated[EvaluateConfig, tyro.conf.arg(name="")] = field(default_factory=EvaluateConfig)
    #: Also write the figures to this JSON file.
    out: Path | None = None
    device: str = "cpu"


def run(arguments: Sequence[str]) -> None:
    """Carry out the command."""
    options = parse(Options, "evaluate", arguments)
    model = load_model(options.model).to(options.device)
    source = options.data.source or read_config(model_folder(options.model)).get("data", "digits")
    data = load_dataset(source, options.data.channels, options.data.resolution)
    check_fits(model, data)
    evaluator = make_evaluator(data, options.evaluate, options.device)
    figures = {
        "model": options.model,
        "data": source,
        "extractor": evaluator.extractor.key,
        **measure(model, evaluator, options.evaluate).to_dict(),
        "images_per_second": images_per_second({"model": model}, options.evaluate)["model"],
        "settings": dataclasses.asdict(options.evaluate),
    }
    if scores := measure_classes(model, evaluator, options.evaluate):
        figures["classes"] = scores.to_dict()
    if (published := read_config(model_folder(options.model)).get("published_fid")) is not None:
        figures["published_fid"] = published
    console.print_json(json.dumps(figures))
    if options.out:
        write_json(options.out, figures)
