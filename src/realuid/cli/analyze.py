"""realuid analyze: plot the effect of alpha and beta, from closed forms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from realuid.cli.options import console, parse


@dataclass(frozen=True)
class Options:
    """Plot the paper's Figures 3 and 4 and law 2 of docs/theory.md (1D Gaussians), and save the numbers."""

    #: Folder for figure3.png, figure4.png, law2.png and analysis.json.
    out: Path = Path("runs/analysis")


def run(arguments: Sequence[str]) -> None:
    """Run the command."""
    options = parse(Options, "analyze", arguments)

    from realuid.reports.analysis import write_analysis

    numbers = write_analysis(options.out)
    for row in numbers["figure_3"]:
        share = row["share_at_uncovered_mode"]
        console.print(
            f"alpha = {row['alpha']:g}, beta = {row['beta']:g}: {share:.2%} of the loss at the mode that the generator "
            "does not cover"
        )
    for row in numbers["figure_4"]["scales"]:
        console.print(
            f"teacher at {row['factor']:g} times the true speed: best beta / alpha = {row['best_ratio']:g} where data "
            "is rare"
        )
    for row in numbers["students"]:
        console.print(
            f"teacher off by {row['teacher']:g}, student covers the data, alpha = {row['alpha']:g}, "
            f"beta = {row['beta']:g}: student off by {row['mean']:.3f}"
        )
    for row in numbers["law_2"]:
        console.print(
            f"mixture objective, data_weight = {row['data_weight']:g}: zero at a student that is "
            f"{row['least_at_share']:.0%} data and {1 - row['least_at_share']:.0%} teacher",
            highlight=False,
            soft_wrap=True,
        )
    console.print(f"figures: {options.out}")
