"""Sentences of the reports: the answer first, from the figures of a demo."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from realuid.text import fd_name

Entry = Mapping[str, Any]


def calls(count: int) -> str:
    """'1 network call', '4 network calls'."""
    return f"{count:,} network call{'' if count == 1 else 's'}"


def best_student(results: Entry) -> Entry:
    """The entry of the student with the lowest FD."""
    return min(results["students"], key=lambda entry: entry["fd_mean"])


def headline(results: Entry) -> str:
    """How much faster, and how close, in one line."""
    teacher, best = results["teacher"], best_student(results)
    faster = best["images_per_second"] / teacher["images_per_second"]
    share = best["fd_mean"] / teacher["fd_mean"]
    number = f"{faster:.0f}" if faster >= 10 else f"{faster:.1f}"
    close = f"{share:.2g}× the teacher's {fd_name(dict(results))}"
    return f"{calls(best['calls'])} instead of {teacher['calls']:,}: {number}× faster, {close}"


def lead(results: Entry) -> str:
    """What the headline's numbers are."""
    teacher, best, name = results["teacher"], best_student(results), fd_name(dict(results))
    label = f" ({best['label']})" if best.get("label") else ""
    return (
        f"Student {best['name']}{label} makes {best['images_per_second']:,.0f} images a second, the teacher "
        f"{teacher['images_per_second']:,.0f}. Its {name} to {results['data']} is {_with_spread(best)}, the teacher's "
        f"{_with_spread(teacher)}{_floor(results)}."
    )


def _with_spread(entry: Entry) -> str:
    spread = f" ± {entry['fd_std']:.2g}" if len(entry["fd"]) > 1 else ""
    return f"{entry['fd_mean']:.3g}{spread}"


def _floor(results: Entry) -> str:
    real = results.get("fd_of_real")
    return "" if real is None else f"; as many real images, drawn at random, would have {real:.2g}"
