"""The HTML page of a sweep: the paper's Table 1 and Figure 2 for the user's data."""

from __future__ import annotations

import statistics
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from matplotlib.figure import Figure

from realuid.files import atomic_file
from realuid.reports.plots import COLOURS, distance_axis, figure_svg, plt


def heat_map(rows: list[dict[str, Any]]) -> Figure:
    """FD by alpha and beta / alpha, averaged over whatever else was varied; a cross where every trial was stopped.

    Args:
        rows: settings with "settings" and "fd_mean" (None where none was finished).
    """
    alphas = sorted({row["settings"]["alpha"] for row in rows})
    ratios = sorted({row["settings"]["ratio"] for row in rows})
    cells: dict[tuple[int, int], list[float | None]] = {}
    for row in rows:
        at = alphas.index(row["settings"]["alpha"]), ratios.index(row["settings"]["ratio"])
        cells.setdefault(at, []).append(row["fd_mean"])
    values = np.full((len(alphas), len(ratios)), np.nan)
    for at, fds in cells.items():
        if known := [fd for fd in fds if fd is not None]:
            values[at] = statistics.mean(known)
    figure, axes = plt.subplots(figsize=(1.6 + 0.9 * len(ratios), 1.2 + 0.55 * len(alphas)))
    axes.imshow(np.log(values), cmap="viridis_r", origin="lower", aspect="auto")
    middle = np.nanmean(np.log(values)) if np.isfinite(values).any() else 0.0
    for at in cells:
        known = np.isfinite(values[at])
        dark = known and np.log(values[at]) > middle
        text = f"{values[at]:.3g}" if known else "×"
        axes.text(at[1], at[0], text, ha="center", va="center", color="white" if dark else "black", fontsize=9)
    axes.set_xticks(range(len(ratios)), [f"{r:g}" for r in ratios])
    axes.set_yticks(range(len(alphas)), [f"{a:g}" for a in alphas])
    axes.set(xlabel="β / α", ylabel="α")
    return figure


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


def curves(trials: list[dict[str, Any]], best: list[dict[str, float]]) -> Figure:
    """Quick FD over generator updates of every trial; the best settings in colour, the data-free one in black.

    Args:
        trials: with "settings", "status" and "history".
        best: settings to colour, best last.
    """
    figure, axes = plt.subplots(figsize=(6.4, 3.6))
    shown: set[str] = set()
    for trial in trials:
        setting = {k: v for k, v in trial["settings"].items() if k != "seed"}
        label, colour, width = "", "0.8", 0.8
        if setting["alpha"] == setting["ratio"] == 1:
            label, colour, width = f"{_label(setting)}: data-free", "black", 1.8
        elif setting in best:
            label, colour, width = _label(setting), COLOURS[(len(best) - 1 - best.index(setting)) % len(COLOURS)], 1.8
        xs, ys = [h["update"] for h in trial["history"]], [h["fd"] for h in trial["history"]]
        axes.plot(xs, ys, color=colour, lw=width, label="" if label in shown else label, zorder=2 if label else 1)
        if trial["status"] != "finished" and xs:
            axes.plot(xs[-1], ys[-1], "x", color=colour, ms=5)
        shown.add(label)
    axes.set_xlabel("generator updates")
    distance_axis(axes)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=8)
    return figure


def _label(setting: dict[str, float]) -> str:
    alpha, ratio = setting["alpha"], setting["ratio"]
    rest = [f"{k} {v:g}" for k, v in setting.items() if k not in ("alpha", "ratio")]
    return ", ".join([f"({alpha:g}, {alpha * ratio:.3g})", *rest])


def write_sweep_report(folder: Path, results: dict[str, Any], trials: list[dict[str, Any]], recipe_yaml: str) -> Path:
    """Write the self-contained sweep.html into the folder of a sweep.

    Args:
        folder: of the sweep.
        results: what results.json holds; settings from worst to best.
        trials: what the finished trials wrote.
        recipe_yaml: the recipe, shown at the end.
    """
    rows = results["settings"]
    finished = [row for row in rows if row["fd_mean"] is not None]
    cells = {(row["settings"]["alpha"], row["settings"]["ratio"]) for row in rows}
    on_grid = len({a for a, _ in cells}) * len({r for _, r in cells}) <= 2 * len(cells) + 8
    plots = []
    if rows:
        table = heat_map(rows) if on_grid else scatter(rows)
        plots.append({"title": "FD by α and β / α", "svg": figure_svg(table)})
        best = [row["settings"] for row in finished[-3:]]
        plots.append({"title": "FD over updates", "svg": figure_svg(curves(trials, best))})
    template = resources.files("realuid.reports").joinpath("sweep.html").read_text()
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    html = environment.from_string(template).render(
        results=results,
        rows=rows,
        plots=plots,
        best=finished[-1] if finished else None,
        others=any(len(row["settings"]) > 2 for row in rows),
        done=len(trials),
        recipe=recipe_yaml,
    )
    path = folder / "sweep.html"
    with atomic_file(path) as temporary:
        temporary.write_text(html)
    return path
