"""Files of exported folders: code that runs there with diffusers alone, and model cards."""

from __future__ import annotations

import shutil
from importlib import resources
from pathlib import Path


def copy_template(template: str, to: Path) -> None:
    """Copy one of these files into a folder."""
    with resources.as_file(resources.files(__name__) / template) as source:
        shutil.copyfile(source, to)
