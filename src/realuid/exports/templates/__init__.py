"""Files of exported folders: code that runs there with diffusers alone, and model cards."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from importlib import resources
from pathlib import Path


def copy_template(template: str, to: Path, changed: Mapping[str, str] | None = None) -> None:
    """Copy one of these files into a folder.

    Args:
        template: its name.
        to: path of the copy.
        changed: what is written in place of parts of its text, each of which is there.
    """
    with resources.as_file(resources.files(__name__) / template) as source:
        shutil.copyfile(source, to)
    if changed:
        text = to.read_text()
        for part, value in changed.items():
            assert part in text, f"'{part}' in {template}"
            text = text.replace(part, value)
        to.write_text(text)
