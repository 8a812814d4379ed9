"""realuid advise RECIPE --teacher FOLDER: propose (alpha, beta)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from realuid.cli.options import console, names_recipe, parse, recipe_for_teacher, replace, say_next, split_recipe
from realuid.devices import choose_device
from realuid.recipes import DataConfig
from realuid.settings import check_range


@dataclass(frozen=True)
class Options:
    """Propose (alpha, beta) from the recipe, published results and the measured speed of the teacher, with reasons."""

    #: Data, preferably not the teacher's training data.
    data: DataConfig
    #: The teacher, as for `realuid distill`.
    teacher: str = "runs/teacher"
    #: Propose values for fine-tuning a distilled student.
    fine_tune: bool = False
    #: Number of samples (data, time, noise) for measuring the speed.
    count: int = 2000
    #: Device: auto (CUDA if available), cpu or cuda.
    device: str = "auto"


def run(arguments: Sequence[str]) -> None:
    """Run the command."""
    recipe, rest = split_recipe(arguments, "demo")
    if not names_recipe(arguments) and not {"--help", "-h"} & set(rest):
        recipe = recipe_for_teacher(rest)
    options = parse(Options, "advise", rest, Options(recipe.data), "RECIPE")

    from realuid.loaders import load_teacher
    from realuid.recipes.advise import advise
    from realuid.recipes.run import recipe_data

    check_range(options, "[10, 1000000]", "count")
    teacher = load_teacher(options.teacher).to(choose_device(options.device))
    data = recipe_data(replace(recipe, data=options.data), teacher)
    advice = advise(teacher, data, options.fine_tune, options.count, recipe)
    console.print(f"try alpha = {advice.alpha:g}, beta = {advice.beta:g}")
    for reason in advice.reasons:
        console.print(f"- {reason}")
    values = f"--alpha {advice.alpha:g} --beta {advice.beta:g}"
    say_next(f"realuid distill --teacher {options.teacher} {values} --out runs/student")
