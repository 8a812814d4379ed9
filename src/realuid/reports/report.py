"""The report of a demo as one self-contained HTML file."""

from __future__ import annotations

import base64
import contextlib
import io
import json
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import torch
from PIL import Image

from realuid.data import Dataset, grid_image
from realuid.files import atomic_file
from realuid.models import MatchingModel, Student
from realuid.on_data import sample_image, samples
from realuid.reports.plots import fd_curves, figure_svg, gap_by_time
from realuid.text import effect_of_real_data, fd_name

#: Rows and columns of a grid, and its seed: every model starts from the same noise. Up to so many classes get a column
#: each.
_ROWS, _COLUMNS, _MOST_COLUMNS, _SEED = 7, 7, 12, 7


def png_uri(image: Image.Image) -> str:
    """An image as a data: URI."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _columns(classes: int) -> int:
    return classes if 1 < classes <= _MOST_COLUMNS else _COLUMNS


def _grid_of_data(data: Dataset, classes: int) -> Image.Image:
    columns = _columns(classes)
    if columns != classes or data.labels is None:
        return grid_image(data.values[: _ROWS * columns], columns)
    numbers = [(data.labels == label).nonzero().flatten()[:_ROWS] for label in range(classes)]
    by_class = [data.values[index] for index in numbers]
    rows = min(len(images) for images in by_class)
    return grid_image(torch.stack([images[:rows] for images in by_class], dim=1).flatten(0, 1), columns)


def _grid_of(
    model: MatchingModel | Student, data: Dataset, steps: int, sampler: str | None, guidance: float
) -> Image.Image:
    columns = _columns(model.num_classes)
    batches = samples(model, data, _ROWS * columns, steps=steps, sampler=sampler, guidance=guidance, seed=_SEED)
    return sample_image(model, data, torch.cat([x.cpu() for x in batches]), columns)


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Lines of a metrics.jsonl without damaged ones, as a crash or a disk leaves them; an absent file is empty."""
    lines = []
    for line in path.read_text(errors="replace").splitlines() if path.is_file() else ():
        with contextlib.suppress(ValueError, RecursionError):
            lines.append(json.loads(line))
    return [line for line in lines if isinstance(line, dict)]


def write_report(
    folder: Path,
    results: dict[str, Any],
    models: dict[str, MatchingModel | Student],
    data: Dataset,
    recipe_yaml: str,
    steps: int,
    sampler: str | None,
    guidance: float = 1.0,
) -> Path:
    """Write report.html into the folder of a demo.

    Args:
        folder: with one run folder a model.
        results: what results.json holds.
        models: "teacher" and the students, by name.
        data: for the grid of real images.
        recipe_yaml: the settings, shown at the end.
        steps, sampler, guidance: of the teacher.
    """
    teacher = models["teacher"]
    assert isinstance(teacher, MatchingModel)
    real = png_uri(_grid_of_data(data, teacher.num_classes))
    grids = [{"title": "real data", "note": "for comparison", "uri": real}]
    for entry in [results["teacher"], *results["students"]]:
        uri = png_uri(_grid_of(models[entry["name"]], data, steps, sampler, guidance))
        calls = entry["calls"]
        note = f"{calls} network call{'s' if calls > 1 else ''} an image, {fd_name(results)} {entry['fd_mean']:.2f}"
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
        results=results,
        fd_name=fd_name(results),
        real_data=effect_of_real_data(results),
        rows=[results["teacher"], *results["students"]],
        fewer_calls=range(1, max((entry["calls"] for entry in results["students"]), default=1)),
        grids=grids,
        plots=plots,
        recipe=recipe_yaml,
    )
    path = folder / "report.html"
    with atomic_file(path) as temporary:
        temporary.write_text(html)
    return path
