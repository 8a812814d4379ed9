"""Plots of a run, as SVG text or PNG files."""

from __future__ import annotations

import io
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

#: One colour a model, readable on white and for colour-blind eyes (Okabe & Ito).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


def figure_svg(figure: Figure) -> str:
    """A figure as an SVG element, closed afterwards."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", bbox_inches="tight")
    plt.close(figure)
    return buffer.getvalue().partition("<svg")[1] + buffer.getvalue().partition("<svg")[2]


def distance_axis(axes: Axes) -> None:
    """Make the upright axis a logarithmic one of Fréchet distances, with ticks in plain numbers."""
    axes.set(ylabel="Fréchet distance (quick)", yscale="log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.grid(alpha=0.25)


def shown(name: str) -> str:
    """A name for a legend, which would take dollars for mathematics and hide what begins with an underscore."""
    return (" " if name.startswith("_") else "") + name.replace("$", r"\$")


def fd_curves(histories: dict[str, list[dict[str, Any]]], lines: dict[str, float]) -> Figure:
    """Quick FD over generator updates.

    Args:
        histories: name -> evaluations with "update" and "fd".
        lines: name -> a level to draw across, for instance the teacher's FD.
    """
    figure, axes = plt.subplots(figsize=(6.4, 3.4))
    for colour, (name, history) in zip(COLOURS, histories.items(), strict=False):
        axes.plot(
            [h["update"] for h in history], [h["fd"] for h in history], "o-", ms=3, color=colour, label=shown(name)
        )
    for style, (name, level) in zip(("--", ":", "-."), lines.items(), strict=False):
        axes.axhline(level, color="0.35", ls=style, lw=1, label=shown(name))
    axes.set_xlabel("generator updates")
    distance_axis(axes)
    axes.legend(frameon=False, fontsize=8)
    return figure


def gap_by_time(metrics: list[dict[str, Any]]) -> Figure:
    """Distance between teacher and fake model by time bin, over the run: dark is late.

    Args:
        metrics: lines of metrics.jsonl.
    """
    figure, axes = plt.subplots(figsize=(6.4, 3.4))
    rows = [m["gap_by_time"] for m in metrics if "gap_by_time" in m]
    for i, row in enumerate(rows):
        centres = [j + 0.5 for j, value in enumerate(row) if value is not None]
        axes.plot(centres, [v for v in row if v is not None], color=plt.cm.viridis_r((i + 1) / len(rows)), lw=1)
    axes.set(xlabel="step of a sampling grid, from data to source", ylabel="||f* - f||² per element", yscale="log")
    axes.grid(alpha=0.25)
    return figure
