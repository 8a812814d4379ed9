"""The report of a demo as one self-contained HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from PIL import Image

from realuid.data import Dataset, grid_image
from realuid.models import MatchingModel, Student
from realuid.on_data import sample_image, samples
from realuid.reading import read_jsonl
from realuid.reports.charts import heat_strip, line_chart
from realuid.reports.page import Grid, Plot, ShownSettings, Tiles, png_uri, write_page
from realuid.reports.prompts import ShownPrompts, prompt_rows
from realuid.reports.words import calls, headline, lead
from realuid.sampling import SamplingOptions
from realuid.text import PROMPT_FIGURES, effect_of_real_data, fd_name
from realuid.training.folder import HEALTH, METRICS, REPORT
from realuid.training.health import read_findings

#: Rows and columns of a grid, and its seed: every model starts from the same noise. Up to so many classes get a column
#: each.
_ROWS, _COLUMNS, _MOST_COLUMNS, _SEED = 7, 7, 12, 7


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


def _grid_of(model: MatchingModel | Student, data: Dataset, how: SamplingOptions) -> Image.Image:
    columns = _columns(model.num_classes)
    batches = samples(model, data, _ROWS * columns, **how, seed=_SEED)
    return sample_image(model, data, torch.cat([x.cpu() for x in batches]), columns)


def _tiles(teacher: MatchingModel, data: Dataset) -> Tiles:
    """Of the grids of models; those of pairs are triples."""
    if not data.is_image:
        return Tiles()
    columns = _columns(teacher.num_classes)
    return Tiles(12, -(-_ROWS * columns * 3 // 12)) if teacher.coupled else Tiles(columns, _ROWS)


def _plots(folder: Path, results: dict[str, Any]) -> list[Plot]:
    lines = {entry["name"]: read_jsonl(folder / entry["name"] / METRICS) for entry in results["students"]}
    histories = {name: [(m["update"], m["fd"]) for m in found if m.get("fd")] for name, found in lines.items()}
    quick, levels = results.get("quick"), {}
    if quick:
        levels = {f"teacher, {results['teacher']['calls']} calls": quick["teacher"], "real images": quick["real"]}
    note = f"All from {quick['samples']:,} samples, so that the lines compare." if quick else ""
    plots = [Plot("FD over updates", line_chart({n: p for n, p in histories.items() if p}, levels, y="FD"), note)]
    for name, found in lines.items():
        rows = [(m["update"], m["gap_by_time"]) for m in found if m.get("gap_by_time")]
        note = "Bin 1 is next to data, the last next to noise; a gap that stays is what the student has not learned."
        plots.append(Plot(f"Gap between teacher and fake model by time: {name}", heat_strip(rows, y="time bin"), note))
    return [plot for plot in plots if plot.svg]


def write_report(
    folder: Path,
    results: dict[str, Any],
    models: dict[str, MatchingModel | Student],
    data: Dataset,
    settings: ShownSettings,
    prompts: ShownPrompts | None = None,
    **how: Any,
) -> Path:
    """Write report.html into the folder of a demo: the answer, large pictures, figures, curves, settings.

    Args:
        folder: with one run folder a model.
        results: what results.json holds.
        models: "teacher" and the students, by name.
        data: for the grid of real images.
        settings: shown at the end.
        prompts: which pictures of every model are shown for; None for models that read none.
        **how: steps, sampler, guidance of the teacher (`SamplingOptions`).
    """
    teacher = models["teacher"]
    assert isinstance(teacher, MatchingModel)
    rows = [results["teacher"], *results["students"]]
    options: SamplingOptions = {**how}  # type: ignore[typeddict-item]
    grids = [
        Grid(e["name"], png_uri(_grid_of(models[e["name"]], data, options)), _note(e, fd_name(results))) for e in rows
    ]
    findings = [
        (entry["name"], finding)
        for entry in results["students"]
        for finding in read_findings(folder / entry["name"] / HEALTH)
    ]
    return write_page(
        folder / REPORT,
        "report.html",
        results=results,
        headline=headline(results),
        lead=lead(results),
        real_data=effect_of_real_data(results),
        fd_name=fd_name(results),
        rows=rows,
        fewer_calls=range(1, max((entry["calls"] for entry in results["students"]), default=1)),
        real=png_uri(_grid_of_data(data, teacher.num_classes)),
        grids=grids,
        tiles=_tiles(teacher, data),
        prompts=[] if prompts is None else prompt_rows(models, prompts, options),
        prompt_figures=[name for name in PROMPT_FIGURES if name in results["teacher"].get("prompts", {})],
        figure_names=PROMPT_FIGURES,
        plots=_plots(folder, results),
        findings=findings,
        settings=settings,
    )


def _note(entry: dict[str, Any], name: str) -> str:
    return f"{calls(entry['calls'])} an image, {name} {entry['fd_mean']:.3g}"
