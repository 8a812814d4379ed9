"""Sentences of the reports: the answer first, from the figures of a demo."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from realuid.text import fd_name

Entry = Mapping[str, Any]


def calls(count: int) -> str:
    """'1 network call', '4 network calls'."""
    return f"{count:,} network call{'' if count == 1 else 's'}"


def measure(results: Entry) -> tuple[str, str]:
    """Key and name of the distance that models are compared by: of points one that sees shapes, if it was measured."""
    if results["teacher"].get("sliced") is not None:
        return "sliced", "sliced Wasserstein distance"
    return "fd_mean", fd_name(dict(results))


def best_student(results: Entry) -> Entry:
    """The entry of the student with the lowest distance."""
    key, _ = measure(results)
    return min(results["students"], key=lambda entry: entry.get(key, entry["fd_mean"]))


def headline(results: Entry) -> str:
    """How much faster, and how close, in one line."""
    teacher, best, (key, name) = results["teacher"], best_student(results), measure(results)
    faster = best["images_per_second"] / teacher["images_per_second"]
    share = best[key] / max(teacher[key], 1e-12)
    number = f"{faster:.0f}" if faster >= 10 else f"{faster:.1f}"
    return (
        f"{calls(best['calls'])} instead of {teacher['calls']:,}: {number}× faster, {share:.2g}× the teacher's {name}"
    )


def lead(results: Entry) -> str:
    """What the headline's numbers are."""
    teacher, best, (key, name) = results["teacher"], best_student(results), measure(results)
    label = f" ({best['label']})" if best.get("label") else ""
    of_best, of_teacher = (_with_spread(e) if key == "fd_mean" else f"{e[key]:.3g}" for e in (best, teacher))
    floor = _floor(results) if key == "fd_mean" else ""
    return (
        f"Student {best['name']}{label} makes {best['images_per_second']:,.0f} images a second, the teacher "
        f"{teacher['images_per_second']:,.0f}. Its {name} to {results['data']} is {of_best}, the teacher's "
        f"{of_teacher}{floor}."
    )


def _with_spread(entry: Entry) -> str:
    spread = f" ± {entry['fd_std']:.2g}" if len(entry["fd"]) > 1 else ""
    return f"{entry['fd_mean']:.3g}{spread}"


def _floor(results: Entry) -> str:
    real = results.get("fd_of_real")
    return "" if real is None else f"; as many real images, drawn at random, would have {real:.2g}"
