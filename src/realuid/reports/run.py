"""The page of a run, which grows with it, and the page that puts runs side by side: read from their folders alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from realuid.reading import read_jsonl
from realuid.reports.charts import heat_strip, line_chart
from realuid.reports.page import Grid, Plot, ShownSettings, Tiles, file_uri, write_page
from realuid.training.folder import HEALTH, METRICS, REPORT, SAMPLES, is_finished
from realuid.training.health import Finding, read_findings

#: Pictures over the time of a run at most, and the pixels between the images of a grid.
_FRAMES, _GUTTER = 16, 2
Line = dict[str, Any]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


@dataclass(frozen=True)
class RunView:
    """What the files of a run say.

    Attributes:
        folder: of the run.
        updates: its length.
        settings: for the end of the page.
        lines: of metrics.jsonl.
        findings: of the monitor of health.
    """

    folder: Path
    updates: int
    settings: ShownSettings
    lines: list[Line]
    findings: list[Finding]

    @classmethod
    def read(cls, folder: Path, updates: int, settings: ShownSettings) -> RunView:
        """The view of a folder."""
        lines, findings = read_jsonl(folder / METRICS), read_findings(folder / HEALTH)
        return cls(folder, updates, settings, lines, findings)

    @property
    def name(self) -> str:
        """Name of the run: its folder's."""
        return self.folder.resolve().name

    @property
    def done(self) -> int:
        """Updates so far."""
        return max((int(line["update"]) for line in self.lines), default=0)

    @property
    def finished(self) -> bool:
        """Whether the run has its result."""
        return is_finished(self.folder)

    def points(self, key: str) -> list[tuple[float, float]]:
        """A value of the log over updates."""
        return [(line["update"], line[key]) for line in self.lines if _is_number(line.get(key))]

    @property
    def last(self) -> float | None:
        """The newest quick FD."""
        return self.points("fd")[-1][1] if self.points("fd") else None

    @property
    def best(self) -> tuple[float, float] | None:
        """Update and value of the lowest quick FD of any average."""
        fds = [p for key in self._keys("fd/ema_") or ["fd"] for p in self.points(key)]
        return min(fds, key=lambda p: p[1], default=None)

    def _keys(self, start: str) -> list[str]:
        return list(dict.fromkeys(key for line in self.lines for key in line if key.startswith(start)))

    @property
    def pictures(self) -> list[Path]:
        """Sample grids in order."""
        return sorted(path for path in (self.folder / SAMPLES).glob("*.png") if path.stem.isdigit())

    def minutes_left(self) -> float | None:
        """From the newest throughput; None where it is unknown or the run is over."""
        rates = [line for line in self.lines if line.get("images_per_second") and line.get("images")]
        if self.finished or not rates:
            return None
        line = rates[-1]
        per_update = line["images"] / max(line["update"], 1)
        return (self.updates - self.done) * per_update / line["images_per_second"] / 60

    def headline(self) -> str:
        """Where the run stands, in one line."""
        fd = "" if self.best is None else f": FD {self.best[1]:.3g}"
        if self.finished:
            return f"{self.name}: finished after {self.done:,} updates{fd}"
        return f"{self.name}: update {self.done:,} of {self.updates:,}{fd}"

    def plots(self) -> list[Plot]:
        """The charts of the run, most telling first."""
        fds = {key.removeprefix("fd/").replace("_", " "): self.points(key) for key in self._keys("fd/")}
        if not fds and self.points("fd"):
            fds = {"FD": self.points("fd")}
        players = [key.removesuffix("/grad_norm") for key in self._keys("") if key.endswith("/grad_norm")]
        share = {"diversity": self.points("health/diversity"), "spread in a class": self.points("health/spread_within")}
        plots = [
            Plot("FD over updates", line_chart(fds, y="FD (quick)"), "Lower is better; the lowest is kept in best/."),
            Plot(
                "Diversity, as a share of the data's",
                line_chart({k: v for k, v in share.items() if v}, {"data": 1.0}, y="share", log=False),
                "Distance of two samples, in features and, within a class, in pixels. Far below 1: mode collapse.",
            ),
            Plot("Gap between teacher and fake model", line_chart({"gap": self.points("gap")}, y="mean square")),
            Plot(
                "The gap by time",
                heat_strip([(m["update"], m["gap_by_time"]) for m in self.lines if m.get("gap_by_time")], y="time bin"),
                "Bin 1 is next to data, the last next to noise.",
            ),
            Plot(
                "Gradient norms before clipping",
                line_chart({player: self.points(f"{player}/grad_norm") for player in players}, y="norm"),
            ),
            Plot(
                "Loss",
                line_chart({player: self.points(f"{player}/loss") for player in players}, y="loss", log=False),
                "" if len(players) < 2 else "Two players against each other: these say little about quality.",
            ),
        ]
        return [plot for plot in plots if plot.svg]


def write_run_page(view: RunView) -> Path:
    """Write `report.html` into the folder of a run, from what is there; a running one's page reloads itself."""
    pictures = view.pictures
    every = max(1, -(-len(pictures) // _FRAMES))
    frames = [*pictures[:-1:every], *pictures[-1:]]
    return write_page(
        view.folder / REPORT,
        "run.html",
        view=view,
        left=view.minutes_left(),
        frames=[Grid(f"update {int(path.stem):,}", file_uri(path)) for path in frames],
        plots=view.plots(),
        settings=view.settings,
    )


def write_comparison(
    path: Path, title: str, views: Sequence[RunView], differing: Mapping[str, Sequence[str]], grows: bool = False
) -> Path:
    """Write a page that puts runs side by side.

    Args:
        path: of the page.
        title: its headline.
        views: of the runs.
        differing: name of a setting that is not the same everywhere -> its value for each run.
        grows: the page reloads itself.
    """
    shown = [view for view in views if view.pictures]
    grids = [Grid(view.name, file_uri(view.pictures[-1]), f"update {int(view.pictures[-1].stem):,}") for view in shown]
    tiles = {_tiles(view.pictures[-1]) for view in shown}
    charts = [
        Plot(
            "FD over updates",
            line_chart({view.name: view.points("fd") for view in views if view.points("fd")}, y="FD (quick)"),
            "Of the first average of each run. Comparable where data and number of samples are the same.",
        ),
        Plot(
            "Diversity, as a share of the data's",
            line_chart({v.name: p for v in views if (p := v.points("health/diversity"))}, {"data": 1.0}, log=False),
        ),
        Plot("Gap between teacher and fake model", line_chart({v.name: p for v in views if (p := v.points("gap"))})),
    ]
    return write_page(
        path,
        "compare.html",
        title=title,
        views=views,
        grids=grids,
        tiles=tiles.pop() if len(tiles) == 1 else Tiles(),
        plots=[plot for plot in charts if plot.svg],
        differing=differing,
        grows=grows,
    )


def _tiles(path: Path) -> Tiles:
    """Columns and rows of a sample grid, by its size: 8 by 8, or of triples 12 by 16."""
    with Image.open(path) as image:
        width, height = image.width - _GUTTER, image.height - _GUTTER
    for columns, rows in ((8, 8), (12, 16)):
        if width % columns == 0 and height % rows == 0 and (width // columns) * rows == height:
            return Tiles(columns, rows)
    return Tiles()
