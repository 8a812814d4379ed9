"""Self-contained HTML pages: templates, pictures as data, settings as what differs from the defaults."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

import jinja2
from PIL import Image

from realuid.files import atomic_file

#: Pictures from files that are wider are embedded smaller, as JPEG.
_WIDEST = 1032


@dataclass(frozen=True)
class ShownSettings:
    """The settings of a run, for the end of its page.

    Attributes:
        yaml: all of them.
        changes: name, value and default of those that differ from the defaults.
    """

    yaml: str = ""
    changes: Sequence[tuple[str, str, str]] = ()


@dataclass(frozen=True)
class Grid:
    """A picture of samples, which the page compares with others of the same noise.

    Attributes:
        name, note: caption.
        uri: the picture as a data: URI.
    """

    name: str
    uri: str
    note: str = ""


@dataclass(frozen=True)
class Tiles:
    """Columns and rows of the grids of a page; none where they are no grids of images."""

    columns: int = 0
    rows: int = 0


@dataclass(frozen=True)
class Plot:
    """A chart with its title, and a sentence on how to read it."""

    title: str
    svg: str
    note: str = field(default="")


def data_uri(picture: bytes, kind: str = "png") -> str:
    """A picture as a data: URI."""
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"


def png_uri(image: Image.Image) -> str:
    """An image as a data: URI."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return data_uri(buffer.getvalue())


def file_uri(path: Path) -> str:
    """A PNG file as a data: URI; large ones are reduced."""
    with Image.open(path) as image:
        if image.width <= _WIDEST:
            return data_uri(path.read_bytes())
        image.thumbnail((_WIDEST, 4 * _WIDEST))
        buffer = io.BytesIO()
        image.convert("RGB").save(buffer, format="JPEG", quality=88)
    return data_uri(buffer.getvalue(), "jpeg")


def write_page(path: Path, template: str, **context: object) -> Path:
    """Render a template of this package to a file, which is replaced as a whole. Every text is escaped.

    Args:
        path: of the file.
        template: name of a file in `reports/templates`.
        **context: what the template reads.
    """
    folder = resources.files("realuid.reports") / "templates"
    loader = jinja2.FunctionLoader(lambda name: (folder / name).read_text())
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    html = environment.get_template(template).render(**context)
    with atomic_file(path) as temporary:
        temporary.write_text(html)
    return path
