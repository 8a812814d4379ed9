"""Packages that import their modules on first use, so that settings and help do not import torch."""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def on_first_use(package: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package, whose `__init__.py` lists its names under `if TYPE_CHECKING`.

    Args:
        package: `__name__` of it.
    """
    homes: dict[str, str] = {}
    tree = ast.parse(Path(str(sys.modules[package].__file__)).read_text())
    for block in (node for node in tree.body if isinstance(node, ast.If)):
        for node in block.body:
            if isinstance(node, ast.ImportFrom) and node.module:
                homes |= {alias.asname or alias.name: node.module for alias in node.names}

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module '{package}' has no attribute '{name}'")
        value = getattr(importlib.import_module(homes[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    return get, lambda: sorted({*vars(sys.modules[package]), *homes})
