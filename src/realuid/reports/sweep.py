"""The HTML page of a sweep: the paper's Table 1 and Figure 2 for the user's data."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure

from realuid.reports.charts import colour, line_chart
from realuid.reports.page import Plot, ShownSettings, write_page
from realuid.reports.plots import figure_svg, plt


@dataclass(frozen=True)
class Cell:
    """A cell of the table of FDs: its text, and colours of background and text; empty where nothing was tried."""

    text: str = ""
    fill: str = ""
    ink: str = ""


@dataclass(frozen=True)
class HeatMap:
    """FD by alpha (rows, largest first) and beta / alpha (columns)."""

    alphas: list[float]
    ratios: list[float]
    cells: list[list[Cell]]


def heat_map(rows: list[dict[str, Any]]) -> HeatMap:
    """FD by alpha and beta / alpha, averaged over whatever else was varied; a cross where every trial was stopped.

    Args:
        rows: settings with "settings" and "fd_mean" (None where none was finished).
    """
    alphas = sorted({row["settings"]["alpha"] for row in rows}, reverse=True)
    ratios = sorted({row["settings"]["ratio"] for row in rows})
    found: dict[tuple[float, float], list[float]] = {}
    for row in rows:
        known = found.setdefault((row["settings"]["alpha"], row["settings"]["ratio"]), [])
        known += [] if row["fd_mean"] is None else [row["fd_mean"]]
    means = {at: statistics.mean(fds) for at, fds in found.items() if fds}
    low, high = (math.log(max(f(means.values(), default=1.0), 1e-12)) for f in (min, max))

    def cell(at: tuple[float, float]) -> Cell:
        if at not in means:
            return Cell("×" if at in found else "")
        share = 1 - (math.log(max(means[at], 1e-12)) - low) / ((high - low) or 1)
        return Cell(f"{means[at]:.3g}", colour(share), "#000" if share > 0.5 else "#fff")

    return HeatMap(alphas, ratios, [[cell((alpha, ratio)) for ratio in ratios] for alpha in alphas])


def scatter(rows: list[dict[str, Any]]) -> Figure:
    """The same for a random search: one point a setting."""
    figure, axes = plt.subplots(figsize=(6.4, 3.6))
    known = [row for row in rows if row["fd_mean"] is not None]
    if known:
        xs, ys = ([row["settings"][name] for row in known] for name in ("ratio", "alpha"))
        fds = np.log10([row["fd_mean"] for row in known])
        points = axes.scatter(xs, ys, c=fds, cmap="viridis_r", s=60, edgecolor="0.3")
        figure.colorbar(points, label="log10 FD")
    for row in rows:
        if row["fd_mean"] is None:
            axes.plot(row["settings"]["ratio"], row["settings"]["alpha"], "x", color="0.5")
    axes.set(xlabel="β / α", ylabel="α")
    axes.grid(alpha=0.25)
    return figure


def curves(trials: list[dict[str, Any]], best: list[dict[str, float]]) -> Markup:
    """Quick FD over generator updates of every trial; the best settings and the data-free one in colour.

    Args:
        trials: with "settings", "status" and "history".
        best: settings to colour, best last.
    """
    lines: dict[str, list[tuple[float, float]]] = {}
    grey: dict[str, list[tuple[float, float]]] = {}
    for trial in trials:
        setting = {k: v for k, v in trial["settings"].items() if k != "seed"}
        free = setting["alpha"] == setting["ratio"] == 1
        label = f"{_label(setting)}: data-free" if free else _label(setting)
        points = [(h["update"], h["fd"]) for h in trial["history"]]
        into = lines if (free or setting in best) and label not in lines else grey
        into[label if into is lines else f"{label}, {len(grey)}"] = points
    return line_chart(lines, y="FD (quick)", grey=grey)


def _label(setting: dict[str, float]) -> str:
    alpha, ratio = setting["alpha"], setting["ratio"]
    rest = [f"{k} {v:g}" for k, v in setting.items() if k not in ("alpha", "ratio")]
    return ", ".join([f"({alpha:g}, {alpha * ratio:.3g})", *rest])


def write_sweep_report(
    folder: Path, results: dict[str, Any], trials: list[dict[str, Any]], settings: ShownSettings
) -> Path:
    """Write the self-contained sweep.html into the folder of a sweep.

    Args:
        folder: of the sweep.
        results: what results.json holds; settings from worst to best.
        trials: what the finished trials wrote.
        settings: shown at the end.
    """
    rows = results["settings"]
    finished = [row for row in rows if row["fd_mean"] is not None]
    cells = {(row["settings"]["alpha"], row["settings"]["ratio"]) for row in rows}
    on_grid = len({a for a, _ in cells}) * len({r for _, r in cells}) <= 2 * len(cells) + 8
    plots = []
    if finished and not on_grid:
        plots.append(Plot("FD by α and β / α", figure_svg(scatter(rows))))
    if rows:
        chart = curves(trials, [row["settings"] for row in finished[-3:]])
        plots.append(
            Plot("FD over updates", chart, "In colour: the best settings, and without real data. Grey: others.")
        )
    return write_page(
        folder / "sweep.html",
        "sweep.html",
        results=results,
        rows=rows,
        table=heat_map(rows) if rows and on_grid else None,
        plots=[plot for plot in plots if plot.svg],
        best=finished[-1] if finished else None,
        others=any(len(row["settings"]) > 2 for row in rows),
        done=len(trials),
        grows=len(trials) < results["trials"],
        settings=settings,
    )
