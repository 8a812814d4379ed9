"""The tables of what was measured, for people; the JSON has all of it."""

from __future__ import annotations

from typing import Any


def show(results: dict[str, Any]) -> None:
    """Print the tables."""
    print(f"\n{results['device']}, torch {results['torch']}, batch {results['batch']}, {results['threads']} threads\n")
    titles = ["5 fake updates + 1", "rounds", "seconds", "min - max", "images / s", "times the authors'", "peak GiB"]
    table([*titles, "of theirs", "parts", "outside networks"], [cells_of(row) for row in results["updates"]])
    for r in results["roofline"]:
        print(
            f"{r['name']}: {r['flop/s'] / 1e9:.0f} GFLOP/s, {r['share']:.0%} of the convolution's {r['peak'] / 1e9:.0f}"
        )
    if not results["roofline"]:
        print("share of the convolution's FLOP/s: left out")
    print()
    table(["an update: batch", "side", "channels", "seconds", "min - max"], [grown(row) for row in results["growth"]])
    for name, rate in results["sampling"].items():
        print(f"sampling, {name}: {'left out' if rate is None else f'{rate:.2f} images / s'}")


def table(titles: list[str], rows: list[list[str]]) -> None:
    """One in Markdown."""
    print(f"| {' | '.join(titles)} |\n|{'---|' * len(titles)}")
    for cells in rows:
        print(f"| {' | '.join(cells)} |")
    print()


def cells_of(row: dict[str, Any]) -> list[str]:
    """A contestant's line; a warm-up is called one and compared with nothing."""
    blocks, gibibytes = row["blocks"], row["peak_bytes"] and row["peak_bytes"] / 2**30
    alone = f"warm-up only: {blocks[0]:.2f}" if blocks else "left out"
    return [
        row["name"],
        str(row["rounds"]),
        f"{row['seconds']:.2f}" if row["rounds"] else alone,
        spread(blocks[1:], 2),
        number(row["images_per_second"], ".2f"),
        number(row["times the authors'"], ".2f"),
        number(gibibytes, ".2f"),
        number(row["memory / the authors'"], ".2f"),
        " + ".join(map(str, (row["parts"] or {"": "-"}).values())),
        number(row["outside the networks"], ".1%"),
    ]


def grown(row: dict[str, Any]) -> list[str]:
    """A size's line."""
    sizes, seconds = [str(row[name]) for name in ("batch", "side", "channels")], row["seconds"]
    taken = "left out" if seconds is None else f"{seconds:.3f}"
    return [*sizes, taken, "-" if seconds is None else spread(row["blocks"][1:], 3)]


def spread(seconds: list[float], digits: int) -> str:
    """The least and the most."""
    return f"{min(seconds):.{digits}f} - {max(seconds):.{digits}f}" if seconds else "-"


def number(value: float | None, form: str) -> str:
    """A value in a format, a dash for none."""
    return "-" if value is None else format(value, form)
