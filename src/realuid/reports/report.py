"""The report of a demo: one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import io
import json
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from PIL import Image

from realuid.data import Dataset, grid_image
from realuid.files import atomic_file
from realuid.reports.plots import fd_curves, figure_svg, gap_by_time

#: Images of one grid.
SHOWN = 48


def png_uri(image: Image.Image) -> str:
    """An image as a data: URI."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Lines of a metrics.jsonl; an absent file is an empty list."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def write_report(
    folder: Path,
    results: dict[str, Any],
    pictures: dict[str, Image.Image],
    data: Dataset,
    recipe_yaml: str,
) -> Path:
    """Write report.html into the folder of a demo.

    Args:
        folder: with one run folder a model.
        results: what results.json holds.
        pictures: samples of "teacher" and the students, by name.
        data: for the grid of real images.
        recipe_yaml: the settings, shown at the end.
    """
    grids = [{"title": "real data", "note": "for comparison", "uri": png_uri(grid_image(data.values[:SHOWN]))}]
    for entry in [results["teacher"], *results["students"]]:
        uri = png_uri(pictures[entry["name"]])
        calls = entry["calls"]
        note = f"{calls} network call{'s' if calls > 1 else ''} an image, FD {entry['fd_mean']:.2f}"
        grids.append({"title": entry["name"], "note": note, "uri": uri})
    histories, plots = {}, []
    for entry in results["students"]:
        lines = read_jsonl(folder / entry["name"] / "metrics.jsonl")
        histories[entry["name"]] = [line for line in lines if "fd" in line]
        plots.append({"title": f"teacher-fake gap: {entry['name']}", "svg": figure_svg(gap_by_time(lines))})
    levels = {
        f"teacher, {results['teacher']['calls']} calls": results["teacher"]["fd_mean"],
        "two halves of the real data": results["fd_between_halves"],
    }
    if any(histories.values()):
        plots.insert(0, {"title": "FD over updates", "svg": figure_svg(fd_curves(histories, levels))})
    template = resources.files("realuid.reports").joinpath("template.html").read_text()
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    html = environment.from_string(template).render(
        results=results, rows=[results["teacher"], *results["students"]], grids=grids, plots=plots, recipe=recipe_yaml
    )
    path = folder / "report.html"
    with atomic_file(path) as temporary:
        temporary.write_text(html)
    return path
