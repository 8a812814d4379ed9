"""Metrics of models as a table for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.table import Table

from realuid.text import fd_name

#: Metrics of models that restore pairs, shown instead of KID: column and format.
RESTORATION = {
    "psnr": ("PSNR\ndB", "{:.1f}"),
    "consistency": ("RMS to\ninput", "{:.3f}"),
    "accuracy": ("right\nclass", "{:.1%}"),
}
#: Metrics of models that read prompts: column and format.
PROMPTS = {
    "retrieval": ("prompt\nfound", "{:.1%}"),
    "diversity": ("diver-\nsity", "{:.2f}"),
    "digit": ("right\ndigit", "{:.1%}"),
    "colours": ("right\ncolours", "{:.1%}"),
    "skin_tone": ("skin\ntone", "{:.1%}"),
}


def results_table(results: dict[str, Any]) -> Table:
    """The table of results.json, the file of a demo."""
    teacher = results["teacher"]
    counts = sorted({row["calls"] for row in results["students"]})
    calls = " or ".join(str(n) for n in counts) + (" call" if counts == [1] else " calls")
    title = f"{results['recipe']} on {results['data']}: {calls} against {teacher['calls']}"
    return metrics_table(title, fd_name(results), (teacher, *results["students"]), teacher)


def metrics_table(
    title: str, distance: str, rows: Sequence[dict[str, Any]], teacher: dict[str, Any] | None = None
) -> Table:
    """A row for each model.

    Args:
        title: above the table.
        distance: what the Frechet distance is called.
        rows: what `Evaluation.to_dict` holds, with name and images_per_second.
        teacher: the row that the others are compared with.
    """
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    cells = [_cells(row, distance, rows, teacher) for row in rows]
    for column in cells[0]:
        table.add_column(column, justify="left" if column == "model" else "right", no_wrap=True)
    for row in cells:
        table.add_row(*row.values())
    return table


def _cells(
    row: dict[str, Any], distance: str, rows: Sequence[dict[str, Any]], teacher: dict[str, Any] | None
) -> dict[str, str]:
    """Column -> text of one row; a column is there where any row has something to say in it."""
    cells = {"model": row["name"]}
    if teacher:
        cells["alpha, beta\nor objective"] = row.get("label", "").replace(", data_weight", ",\ndata_weight")
    cells["calls"] = str(row["calls"])
    cells[distance] = f"{row['fd_mean']:.3f}" + (f"±{row['fd_std']:.3f}" if len(row["fd"]) > 1 else "")
    prompts = [name for name in PROMPTS if name in rows[0].get("prompts", {})]
    if teacher and not prompts:  # a table of both would be too wide: the report has all
        cells["x\nteacher"] = f"{row['fd_mean'] / teacher['fd_mean']:.1f}"
    most = max((other["calls"] for other in rows if other.get("by_calls")), default=1)
    for n in range(1, 1 if prompts else most):
        cells[f"{distance}, {n}\ncall{'s' if n > 1 else ''}"] = _fd_of_fewer_calls(row, n)
    pairs = [name for name in RESTORATION if name in rows[0]]
    cells |= {RESTORATION[name][0]: RESTORATION[name][1].format(row[name]) for name in pairs}
    if "sliced" in rows[0]:
        cells["sliced\nW2"] = f"{row['sliced']:.3f}"
    elif not pairs and not prompts:
        cells["KID"] = f"{row['kid']:.4f}"
    if not teacher:
        cells |= {"precision": f"{row['precision']:.2f}", "recall": f"{row['recall']:.2f}"}
    for name in prompts:
        cells[PROMPTS[name][0]] = PROMPTS[name][1].format(row["prompts"][name])
    cells["images\n/ s"] = f"{row['images_per_second']:,.0f}"
    if teacher:
        cells["faster"] = f"{row['images_per_second'] / teacher['images_per_second']:.1f}x"
    if any("classes" in other for other in rows):
        cells["right\nclass"] = f"{row['classes']['agreement']:.1%}" if "classes" in row else ""
    if any("published_fid" in other for other in rows):
        cells["published\nFID"] = f"{row['published_fid']:g}" if "published_fid" in row else ""
    return cells


def _fd_of_fewer_calls(row: dict[str, Any], calls: int) -> str:
    """FD of a student after fewer calls than it has."""
    found = [entry["fd_mean"] for entry in row.get("by_calls", [])[:-1] if entry["calls"] == calls]
    return f"{found[0]:.3f}" if found else ""
