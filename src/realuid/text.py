"""Text: untrusted, with invisible characters and markup escaped; names of distances and a sentence of figures."""

from __future__ import annotations

import html
import json
import re
import unicodedata
from collections.abc import Mapping
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

#: Categories of characters that nobody sees and that do something: control (escape sequences begin with one), format
#: (they turn the direction of text), halves of surrogates (bytes of file names that are no text), line separators.
_INVISIBLE = ("Cc", "Cf", "Cs", "Zl", "Zp")
#: Of those: line breaks, tabs, and what joins letters of some scripts or keeps them apart.
_HARMLESS = "\n\t\u200c\u200d"
#: What Markdown may take for a heading, emphasis (but not the underscore of a_name), code, a link, an image, a table,
#: HTML or mathematics.
_MARKDOWN = re.compile(r"([\\`*{}\[\]<>#|~$&]|(?<![^\W_])_|_(?![^\W_]))")


def printable(text: str) -> str:
    r"""The text with invisible characters as JSON spells them: an escape becomes `\u001b`. Idempotent."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(json.dumps(c)[1:-1] if _is_invisible(c) else c for c in text)


def _is_invisible(character: str) -> bool:
    return character not in _HARMLESS and unicodedata.category(character) in _INVISIBLE


def one_line(text: str) -> str:
    """The same on one line, with single spaces."""
    return printable(" ".join(text.split()))


def in_markdown(text: str) -> str:
    """Text that Markdown shows as it is, within a line or a cell of a table."""
    return _MARKDOWN.sub(r"\\\1", one_line(text))


def in_html(title: str, facts: Mapping[str, str]) -> str:
    """A small table for notebooks, every text escaped."""
    rows = "".join(
        f'<tr><td style="text-align:left">{_escaped(name)}</td><td style="text-align:left">{_escaped(value)}</td></tr>'
        for name, value in facts.items()
    )
    return f"<b>{_escaped(title)}</b><table>{rows}</table>"


def _escaped(text: str) -> str:
    return html.escape(printable(text))


#: What a Frechet distance is called in the features of the extractors.
_FD_NAMES = ("FD", "FID", "FD-EffNet")


def fd_name(figures: dict[str, Any]) -> str:
    """What the Frechet distance of figures is called, as `Evaluator.describe` says; FD where they do not say."""
    names = figures.get("distances")
    name = names.get("fd") if isinstance(names, dict) else None
    return name if name in _FD_NAMES else "FD"


def effect_of_real_data(results: dict[str, Any]) -> str | None:
    """What real data did in a demo, as one sentence: its best student with real data against its best without.

    A difference counts if it exceeds the standard deviations of both over the seeds of their samples.

    Args:
        results: of a demo, as in results.json.

    Returns:
        the sentence; None if all students use real data, or none, or the results do not say.
    """
    with_data, without = (
        [row for row in results["students"] if row.get("real_data") is used] for used in (True, False)
    )
    if not with_data or not without:
        return None
    best, other = (min(rows, key=lambda row: row["fd_mean"]) for rows in (with_data, without))
    gain, spread = other["fd_mean"] - best["fd_mean"], max(best["fd_std"], other["fd_std"])
    if abs(gain) > spread:
        verdict = f"real data {'lowered' if gain > 0 else 'raised'} it by {abs(gain):.3f}"
    else:
        verdict = "real data made no difference that could be measured"
    seconds = f"{best['train_seconds']:.0f} s of training against {other['train_seconds']:.0f} s"
    return (
        f"{fd_name(results)} is {best['fd_mean']:.3f} with real data ('{best['name']}') and {other['fd_mean']:.3f} "
        f"without ('{other['name']}'), spread over seeds of samples {spread:.3f}, one training run each ({seconds}): "
        f"{verdict}."
    )


#: Metrics of models that read prompts, as tables call them.
PROMPT_FIGURES = {
    "similarity": "similarity",
    "retrieval": "prompt found",
    "diversity": "diversity",
    "digit": "right digit",
    "colours": "right colours",
    "skin_tone": "right skin tone",
}


def names_only(about: Mapping[str, Any]) -> dict[str, Any]:
    """A description for other machines: of absolute paths, which say how the author's folders are called, the name."""
    return {key: _names_only(value) for key, value in about.items()}


def _names_only(value: Any) -> Any:
    if isinstance(value, Mapping):
        return names_only(value)
    if isinstance(value, list | tuple):
        return [_names_only(entry) for entry in value]
    absolute = isinstance(value, str) and any(kind(value).is_absolute() for kind in (PurePosixPath, PureWindowsPath))
    return (PureWindowsPath(value).name or value) if absolute else value
