"""Untrusted text on terminals and in Markdown, with invisible characters and markup escaped."""

from __future__ import annotations

import html
import json
import re
import unicodedata
from collections.abc import Mapping
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
