"""Charts hold the values that they are drawn from, at the places that the scales say."""

from __future__ import annotations

import math
import re

import pytest

from realuid.reports.charts import Axis, heat_strip, line_chart, thinned


def test_an_axis_is_linear_or_logarithmic() -> None:
    assert Axis(0, 10, 100, 300)(2.5) == 150
    assert Axis(1, 100, 0, 1, log=True)(10) == pytest.approx(0.5)
    assert Axis(0, 11, 0, 1).ticks() == [0, 5, 10]
    assert [round(t, 6) for t in Axis(0.9, 1.4, 0, 1).ticks()] == [0.9, 1.0, 1.1, 1.2, 1.3, 1.4]
    assert Axis(0.3, 6, 0, 1, log=True).ticks() == pytest.approx([0.5, 1, 2, 5])


def test_a_line_holds_its_values_and_their_places() -> None:
    svg = line_chart({"a <b>": [(0, 1.0), (50, math.nan), (100, 100.0)]}, {"level": 10.0})
    assert 'data-name="a &lt;b&gt;"' in svg and 'data-values="0,1 100,100"' in svg and "<b>" not in svg
    points = re.search(r' points="([^"]*)"', svg)
    assert points is not None
    (x0, y0), (x1, y1) = (map(float, p.split(",")) for p in points[1].split())
    level = re.search(r'class="level l0"[^>]*y1="([\d.]+)"', svg)
    assert level is not None
    assert x0 == 58 and x1 == 628 and y0 > y1
    assert float(level[1]) == pytest.approx((y0 + y1) / 2, abs=0.1)  # 10 is halfway between 1 and 100


def test_zero_keeps_the_axis_linear_and_nothing_draws_nothing() -> None:
    assert line_chart({"a": [(0, 0.0), (1, 1.0)]}) and line_chart({"a": []}) == "" == line_chart({})


def test_long_lines_are_thinned_to_their_end() -> None:
    points = [(float(i), float(i)) for i in range(5003)]
    kept = thinned(points)
    assert len(kept) <= 401 and kept[0] == (0, 0) and kept[-1] == (5002, 5002)


def test_a_heat_strip_colours_by_the_logarithm() -> None:
    svg = heat_strip([(10, [1.0, None]), (20, [10.0, 100.0])], y="bin")
    fills = re.findall(r'fill="(rgb\([\d,]+\))"><title>([^<]*)', svg)
    assert [title for _, title in fills] == ["updates 10, bin 1: 1", "updates 20, bin 1: 10", "updates 20, bin 2: 100"]
    assert [colour for colour, _ in fills] == [
        "rgb(68,1,84)",
        "rgb(33,145,140)",
        "rgb(253,231,37)",
    ]
    assert heat_strip([(10, [1.0])]) == "" == heat_strip([(1, [None]), (2, [None])])
