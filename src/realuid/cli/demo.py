"""realuid demo RECIPE: train a teacher, distil it, evaluate and report."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from realuid.cli.options import console, parse, refuse_changes, replace, resumed_run, say_next, split_recipe
from realuid.cli.tables import results_table
from realuid.errors import ConfigError, unknown_name
from realuid.models import NetworkConfig
from realuid.recipes import FAMILIES, DataConfig, EvaluateConfig, PathConfig, Recipe
from realuid.text import effect_of_real_data
from realuid.training import DistillConfig, TeacherConfig

#: What a demo that continues may do otherwise: how finished models are measured at the end, but not the features, in
#: which quick FDs chose among models on the way.
EVALUATION = tuple(f"evaluate.{name}" for name in ("samples", "seeds", "steps", "sampler", "guidance", "clip"))
#: Sections of a recipe whose settings are options of a demo.
SECTIONS = ("data", "evaluate", "network", "path", "teacher", "distill")
#: Where earlier versions put the demo of every recipe.
OLD_OUT = Path("runs/demo")


@dataclass(frozen=True)
class Options:
    """Train a teacher, distil every student of a recipe, evaluate all of them, write a report."""

    data: DataConfig
    evaluate: EvaluateConfig
    network: NetworkConfig
    path: PathConfig
    teacher: TeacherConfig
    distill: DistillConfig
    #: Instead of a recipe: flow, vp, edm, bridge or interpolant, each by its recipe for digits.
    family: str | None = None
    #: Output folder. None: runs/ and the name of the recipe.
    out: Path | None = None
    #: Continue the demo in --out with the settings it was started with.
    resume: bool = False
    #: Replace the demo in --out.
    overwrite: bool = False
    #: Print the resolved settings with parameter count, memory and time, and stop.
    dry_run: bool = False


def run(arguments: Sequence[str]) -> None:
    """Run the command."""
    from realuid.recipes.run import recipe_of_run

    arguments = _of_family(arguments)
    recipe, rest = split_recipe(arguments, "demo")
    out = default_out(recipe)
    run = resumed_run(rest, out if out.exists() or not _is_of(OLD_OUT, recipe) else OLD_OUT)
    recipe = recipe_of_run(run / "teacher") if run else recipe
    default = Options(**{name: getattr(recipe, name) for name in SECTIONS})
    options = parse(Options, "demo", rest, default, "RECIPE")

    from realuid.recipes.demo import REPORT, RESULTS, run_demo
    from realuid.recipes.estimate import describe_demo

    if run:
        refuse_changes(arguments, options, recipe, "data", "evaluate", free=EVALUATION)
        refuse_changes(arguments, options, recipe, *SECTIONS[2:], longer=False)
        recipe = replace(recipe, data=options.data, evaluate=options.evaluate)
    else:
        recipe = replace(recipe, **{name: getattr(options, name) for name in SECTIONS})
    if options.dry_run:
        console.print(describe_demo(recipe))
        return
    out = run or options.out or default_out(recipe)
    results = run_demo(recipe, out, say=console.print, resume=options.resume, overwrite=options.overwrite)
    console.print(results_table(results), soft_wrap=False)
    if sentence := effect_of_real_data(results):
        console.print(sentence)
    console.print(f"{results['seconds']:.0f} s in total")
    for what, name in (("figures", RESULTS), ("report", REPORT)):
        console.print(f"{what}: {out / name}")
    best = min(results["students"], key=lambda row: row["fd_mean"])["name"]
    say_next(f"realuid sample {out / best} --out grid.png", f"realuid export {out / best} student --to diffusers")


def default_out(recipe: Recipe) -> Path:
    """Default folder of the demo of a recipe."""
    return Path("runs") / (re.sub(r"[^\w.-]+", "-", recipe.name).strip(".-") or "demo")


def _is_of(folder: Path, recipe: Recipe) -> bool:
    from realuid.recipes.run import RECIPE, recipe_of_run

    return (folder / "teacher" / RECIPE).is_file() and recipe_of_run(folder / "teacher").name == recipe.name


def _of_family(arguments: Sequence[str]) -> list[str]:
    """The arguments with `--family NAME` (or `--family=NAME`) replaced by the name of its recipe, as first word."""
    words = [part for word in arguments for part in (word.split("=", 1) if word.startswith("--family=") else [word])]
    if "--family" not in words or words.index("--family") + 1 == len(words):
        return words  # and the parser complains about a name that is missing
    place = words.index("--family")
    name, rest = words[place + 1], words[:place] + words[place + 2 :]
    if name not in FAMILIES:
        raise ConfigError(unknown_name("family", name, FAMILIES))
    if rest and not rest[0].startswith("-"):
        raise ConfigError(f"--family {name} and recipe '{rest[0]}': pass one of them.")
    return [FAMILIES[name], *rest]
