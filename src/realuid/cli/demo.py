"""realuid demo RECIPE: train a teacher, distil it, evaluate and report."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from realuid.cli.options import console, parse, refuse_changes, replace, resumed_run, split_recipe
from realuid.errors import ConfigError, unknown_name
from realuid.recipes import FAMILIES, DataConfig, EvaluateConfig, Recipe
from realuid.text import effect_of_real_data, fd_name

#: Metrics of models that restore pairs, shown instead of KID: column and format.
RESTORATION = {
    "psnr": ("PSNR\ndB", "{:.1f}"),
    "consistency": ("RMS to\ninput", "{:.3f}"),
    "accuracy": ("right\nclass", "{:.1%}"),
}
#: Metrics of models that read prompts: column and format.
PROMPTS = {
    "retrieval": ("caption\nfound", "{:.1%}"),
    "diversity": ("diver-\nsity", "{:.2f}"),
    "digit": ("right\ndigit", "{:.1%}"),
    "colours": ("right\ncolours", "{:.1%}"),
}
#: What a demo that continues may do otherwise: how finished models are measured at the end, but not the features, in
#: which quick FDs chose among models on the way.
EVALUATION = tuple(f"evaluate.{name}" for name in ("samples", "seeds", "steps", "sampler", "guidance"))
#: Where earlier versions put the demo of every recipe.
OLD_OUT = Path("runs/demo")


@dataclass(frozen=True)
class Options:
    """Train a teacher, distil every student of a recipe, evaluate all of them, write a report."""

    data: DataConfig
    evaluate: EvaluateConfig
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
    options = parse(Options, "demo", rest, Options(recipe.data, recipe.evaluate), "RECIPE")

    from realuid.recipes.demo import REPORT, RESULTS, run_demo
    from realuid.recipes.estimate import describe_demo

    if run:
        refuse_changes(arguments, options, recipe, "data", "evaluate", free=EVALUATION)
        recipe = replace(recipe, evaluate=options.evaluate)
    else:
        recipe = replace(recipe, data=options.data, evaluate=options.evaluate)
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


def results_table(results: dict[str, Any]) -> Table:
    """The metrics of results.json as a table for the terminal."""
    title = f"{results['recipe']} on {results['data']}: one step against {results['teacher']['calls']}"
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    teacher = results["teacher"]
    rows = (teacher, *results["students"])
    classes = any("classes" in row for row in rows)
    published = any("published_fid" in row for row in rows)
    most = max(row["calls"] for row in results["students"])
    fewer = [f"FD, {n}\ncall{'s' if n > 1 else ''}" for n in range(1, most)]
    pairs = [name for name in RESTORATION if name in teacher]
    middle = [RESTORATION[name][0] for name in pairs] or ["KID"]
    asked = [name for name in PROMPTS if name in teacher.get("prompts", {})]
    game = "alpha, beta\nor objective"
    columns = (
        "model",
        game,
        "calls",
        fd_name(results),
        "x\nteacher",
        *fewer,
        *middle,
        *(PROMPTS[name][0] for name in asked),
        "images\n/ s",
        "faster",
    )
    for column in (*columns, *(["right\nclass"] if classes else []), *(["published\nFID"] if published else [])):
        table.add_column(column, justify="left" if column == "model" else "right", no_wrap=True)
    for row in rows:
        table.add_row(
            row["name"],
            row.get("label", "").replace(", data_weight", ",\ndata_weight"),
            str(row["calls"]),
            f"{row['fd_mean']:.3f}" + (f"±{row['fd_std']:.3f}" if len(row["fd"]) > 1 else ""),
            f"{row['fd_mean'] / teacher['fd_mean']:.1f}",
            *(_fd_of_fewer_calls(row, n) for n in range(1, most)),
            *([RESTORATION[name][1].format(row[name]) for name in pairs] or [f"{row['kid']:.4f}"]),
            *(PROMPTS[name][1].format(row["prompts"][name]) for name in asked),
            f"{row['images_per_second']:,.0f}",
            f"{row['images_per_second'] / teacher['images_per_second']:.1f}x",
            *([f"{row['classes']['agreement']:.1%}"] if classes else []),
            *([f"{row['published_fid']:g}" if "published_fid" in row else ""] if published else []),
        )
    return table


def _fd_of_fewer_calls(row: dict[str, Any], calls: int) -> str:
    """FD of a student after fewer calls than it has."""
    found = [entry["fd_mean"] for entry in row.get("by_calls", [])[:-1] if entry["calls"] == calls]
    return f"{found[0]:.3f}" if found else ""
