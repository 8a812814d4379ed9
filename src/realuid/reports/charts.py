"""Charts as inline SVG: drawn here, coloured by the page's style (light or dark), read by hovering with its script."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup, escape
from matplotlib import colormaps

#: Size of a chart in its own units, and the margins of the axes: left, right, top, bottom.
_WIDTH, _HEIGHT = 640, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 12, 10, 40
#: Number of colours that the page's style defines, and points of a line at most.
COLOURS, _MOST_POINTS = 6, 400
Point = tuple[float, float]


@dataclass(frozen=True)
class Axis:
    """A scale from values to positions.

    Attributes:
        low, high: its ends.
        start, end: positions of the ends.
        log: logarithmic.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high, value = (math.log(v) if self.log else v for v in (self.low, self.high, value))
        return self.start + (value - low) / ((high - low) or 1) * (self.end - self.start)

    def ticks(self) -> list[float]:
        """A few round values between the ends."""
        if self.log:
            decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            found = [m * 10.0**d for d in decades for m in (1, 2, 5) if self.low <= m * 10.0**d <= self.high]
            return found[:: max(1, math.ceil(len(found) / 7))]
        step = _round((self.high - self.low) / 5)
        first = math.ceil(self.low / step - 1e-9)
        return [i * step for i in range(first, math.floor(self.high / step + 1e-9) + 1)]


def _round(step: float) -> float:
    """The smallest of 1, 2, 5 times a power of ten that is no less than a step."""
    power = 10.0 ** math.floor(math.log10(step or 1))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= step * (1 - 1e-9))


def thinned(points: Sequence[Point]) -> list[Point]:
    """At most `_MOST_POINTS` of the finite points, the last one among them."""
    finite = [p for p in points if all(map(math.isfinite, p))]
    every = max(1, math.ceil(len(finite) / _MOST_POINTS))
    return [*finite[:-1:every], *finite[-1:]]


def line_chart(
    lines: Mapping[str, Sequence[Point]],
    levels: Mapping[str, float] | None = None,
    *,
    x: str = "updates",
    y: str = "",
    log: bool = True,
    grey: Mapping[str, Sequence[Point]] | None = None,
) -> Markup:
    """Lines over a common x axis, with a legend.

    Args:
        lines: name -> points (x, y).
        levels: name -> a value to draw across.
        x, y: labels.
        log: logarithmic y axis, where all values are positive.
        grey: further lines in the background, without a place in the legend.
    """
    levels = dict(levels or {})
    kept = {name: thinned(points) for name, points in lines.items()}
    behind = {name: thinned(points) for name, points in (grey or {}).items()}
    everything = [p for points in (*kept.values(), *behind.values()) for p in points]
    if not everything:
        return Markup()
    values = [value for _, value in everything] + list(levels.values())
    log = log and min(values) > 0
    across = _axis([p[0] for p in everything], _LEFT, _WIDTH - _RIGHT, log=False)
    up = _axis(values, _HEIGHT - _BOTTOM, _TOP, log)
    parts = [_frame(across, up, x, y)]
    parts += [_line(name, points, across, up, "grey") for name, points in behind.items()]
    legend = []
    for i, (name, level) in enumerate(levels.items()):
        height = up(level)
        parts.append(Markup('<line class="level l{}" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>').format(
            i % 3, _LEFT, _WIDTH - _RIGHT, height, height))  # fmt: skip
        legend.append(Markup('<span class="key level l{}">{}</span>').format(i % 3, name))
    for i, (name, points) in enumerate(kept.items()):
        parts.append(_line(name, points, across, up, f"c{i % COLOURS}"))
        legend.append(Markup('<span class="key c{}">{}</span>').format(i % COLOURS, name))
    label = escape(f"{y or 'value'} over {x}: {', '.join(kept)}")
    return Markup(
        '<div class="chart"><svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>'
        '<div class="legend">{}</div><output></output></div>'
    ).format(_WIDTH, _HEIGHT, label, Markup("").join(parts), Markup(" ").join(legend))


def _axis(values: Sequence[float], start: float, end: float, log: bool) -> Axis:
    low, high = min(values), max(values)
    if log:
        return Axis(low / 1.1, high * 1.1, start, end, log=True)
    margin = 0.0 if start < end else 0.05 * ((high - low) or 1)
    return Axis(low - margin, high + margin, start, end)


def _frame(across: Axis, up: Axis, x: str, y: str) -> Markup:
    parts = []
    for value in up.ticks():
        parts.append(Markup('<line class="grid" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>').format(
            _LEFT, _WIDTH - _RIGHT, up(value), up(value)))  # fmt: skip
        parts.append(Markup('<text x="{}" y="{:.1f}" text-anchor="end">{:g}</text>').format(
            _LEFT - 6, up(value) + 4, value))  # fmt: skip
    for value in across.ticks():
        parts.append(Markup('<text x="{:.1f}" y="{}" text-anchor="middle">{}</text>').format(
            across(value), _HEIGHT - _BOTTOM + 18, f"{value:,.10g}"))  # fmt: skip
    parts.append(_labels(x, y))
    return Markup("").join(parts)


def _labels(x: str, y: str) -> Markup:
    """Names of the axes."""
    middle, half = (_LEFT + _WIDTH - _RIGHT) / 2, (_TOP + _HEIGHT - _BOTTOM) / 2
    return Markup(
        '<text x="{}" y="{}" text-anchor="middle">{}</text>'
        '<text transform="translate(13 {}) rotate(-90)" text-anchor="middle">{}</text>'
    ).format(middle, _HEIGHT - 4, x, half, y)


def _line(name: str, points: Sequence[Point], across: Axis, up: Axis, kind: str) -> Markup:
    """A line whose values the page's script reads from its attributes."""
    places = " ".join(f"{across(a):.1f},{up(b):.1f}" for a, b in points)
    values = " ".join(f"{a:g},{b:.5g}" for a, b in points)
    dots = Markup("").join(
        Markup('<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="2.4"/>').format(kind, across(a), up(b))
        for a, b in (points if len(points) <= 40 else points[-1:])
    )
    return Markup('<polyline class="line {}" data-name="{}" data-values="{}" points="{}"/>{}').format(
        kind, name, values, places, dots
    )


def heat_strip(rows: Sequence[tuple[float, Sequence[float | None]]], *, x: str = "updates", y: str = "") -> Markup:
    """A matrix of positive values over x as colours (logarithmic), at most 100 columns.

    Args:
        rows: (x, values from bottom to top); None is left out.
        x, y: labels.
    """
    every = max(1, math.ceil(len(rows) / 100))
    rows = rows[::every]
    values = [v for _, column in rows for v in column if v]
    if len(rows) < 2 or not values:
        return Markup()
    edges = [at for at, _ in rows] + [2 * rows[-1][0] - rows[-2][0]]
    across = Axis(edges[0], edges[-1], _LEFT, _WIDTH - _RIGHT)
    up = Axis(0, max(len(column) for _, column in rows), _HEIGHT - _BOTTOM, _TOP)
    shade = Axis(min(values), max(max(values), min(values) * 1.01), 0.0, 1.0, log=True)
    cells = []
    for (left, right), (at, column) in zip(pairwise(edges), rows, strict=True):
        for i, value in enumerate(column):
            if value:
                cells.append(Markup(
                    '<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" fill="{}"><title>{}</title></rect>'
                ).format(across(left), up(i + 1), across(right) - across(left) + 0.3, up(i) - up(i + 1) + 0.3,
                         colour(shade(value)), f"{x} {at:g}, {y} {i + 1}: {value:.3g}"))  # fmt: skip
    ticks = [
        Markup('<text x="{:.1f}" y="{}" text-anchor="middle">{}</text>').format(
            across(value), _HEIGHT - _BOTTOM + 18, f"{value:,.10g}"
        )
        for value in across.ticks()
    ]
    key = Markup('<div class="legend"><span>{:.2g}</span><span class="ramp"></span><span>{:.2g}</span></div>').format(
        min(values), max(values)
    )
    return Markup('<div class="chart"><svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}{}{}</svg>{}</div>').format(
        _WIDTH, _HEIGHT, f"{y} over {x}", Markup("").join(cells), Markup("").join(ticks), _labels(x, y), key
    )


def colour(share: float) -> str:
    """A colour of the viridis scale for a share between 0 and 1, as CSS."""
    red, green, blue, _ = colormaps["viridis"](min(1.0, max(0.0, share)))
    return f"rgb({red * 255:.0f},{green * 255:.0f},{blue * 255:.0f})"
