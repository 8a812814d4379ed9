"""realuid advise RECIPE --teacher FOLDER: a first (alpha, beta)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from realuid.cli.options import console, parse, replace, split_recipe
from realuid.devices import choose_device
from realuid.loaders import load_teacher
from realuid.recipes import DataConfig
from realuid.recipes.advise import advise
from realuid.recipes.run import recipe_data
from realuid.settings import check_range


@dataclass(frozen=True)
class Options:
    """Propose (alpha, beta) from the paper's findings and a probe of the teacher, and say what it is based on."""

    #: Best data that the teacher has not seen.
    data: DataConfig
    #: Anything `realuid distill` takes.
    teacher: str = "runs/teacher"
    #: For fine-tuning a distilled generator.
    fine_tune: bool = False
    #: Draws of data, time and noise of the probe.
    count: int = 2000
    #: auto (CUDA where there is one), cpu or cuda.
    device: str = "auto"


def run(arguments: Sequence[str]) -> None:
    """Carry out the command."""
    recipe, rest = split_recipe(arguments, "demo")
    options = parse(Options, "advise", rest, Options(recipe.data), "RECIPE")
    check_range(options, "[10, inf)", "count")
    teacher = load_teacher(options.teacher).to(choose_device(options.device))
    data = recipe_data(replace(recipe, data=options.data), teacher)
    advice = advise(teacher, data, options.fine_tune, options.count)
    console.print(f"try alpha = {advice.alpha:g}, beta = {advice.beta:g}")
    for reason in advice.reasons:
        console.print(f"- {reason}")
