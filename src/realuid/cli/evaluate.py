"""realuid evaluate MODEL: compute metrics of a model."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from realuid.cli.options import ModelOptions, asked_data, parse, print_json, refuse_pairs
from realuid.devices import choose_device
from realuid.files import check_writable, write_json
from realuid.recipes import DataConfig, EvaluateConfig


@dataclass(frozen=True)
class Options:
    """Compute FD, KID, precision and recall over several seeds, and images per second."""

    #: A model: a folder of realuid or diffusers, a file of EDM, SiD, torchcfm or the RealUID authors, or a Hub id.
    model: tyro.conf.Positional[str]
    #: Data to compare with; by default the model's training data.
    data: DataConfig = field(default_factory=lambda: DataConfig(source=""))
    evaluate: Annotated[EvaluateConfig, tyro.conf.arg(name="")] = field(default_factory=EvaluateConfig)
    #: Also write the metrics to this JSON file.
    out: Path | None = None
    #: Device: auto (CUDA if available), cpu or cuda.
    device: str = "auto"
    loading: Annotated[ModelOptions, tyro.conf.arg(name="")] = field(default_factory=ModelOptions)


def run(arguments: Sequence[str]) -> None:
    """Run the command."""
    options = parse(Options, "evaluate", arguments)

    import torch

    from realuid.loaders import load_model, local_path, model_folder, recognise
    from realuid.models import MatchingModel
    from realuid.models.saving.folder import read_config
    from realuid.processes import join
    from realuid.recipes.evaluate import evaluate_model, images_per_second, make_evaluator
    from realuid.sampling import check_use
    from realuid.training.compatibility import check_fits, check_sampling

    if options.out:
        check_writable(options.out)
    device = choose_device(options.device)
    part = join(device)
    model = load_model(options.model, kind=options.loading.kind, key=options.loading.key).to(device)
    chosen = asked_data(options.model, options.data)
    refuse_pairs(model, options.data)
    data = chosen.load()
    check_fits(model, data)
    check_use(model, options.evaluate.sampler, options.evaluate.guidance, clip=options.evaluate.clip)
    if isinstance(model, MatchingModel):
        check_sampling(model, options.evaluate.steps, options.evaluate.sampler, options.evaluate.guidance)
    evaluator = make_evaluator(data, options.evaluate, device)
    rate = images_per_second({"model": model}, data, options.evaluate)["model"]
    figures = {
        "model": options.model,
        "data": chosen.source,
        **evaluator.describe(),
        **evaluate_model(model, evaluator, options.evaluate, part=part).to_dict(),
        "images_per_second": part.total(torch.tensor(rate)).item(),
        "processes": part.world,
        "settings": dataclasses.asdict(options.evaluate),
    }
    if recognise(local_path(options.model)) == "realuid":
        about = read_config(model_folder(options.model))
        figures |= {key: about[key] for key in ("published_fid",) if key in about}
    print_json(figures)
    if options.out and part.rank == 0:
        write_json(options.out, figures)
