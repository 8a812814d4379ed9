"""Paths of other packages, found by entry points of installed distributions.

Recipes and saved models hold only the name of a path. So loading one runs no code but that of the installed package
that provides the path.
"""

from __future__ import annotations

from importlib.metadata import entry_points

from realuid.errors import ConfigError
from realuid.paths.base import Path

#: The group of entry points, name = "package.module:Class".
GROUP = "realuid.paths"


def installed_path(name: str) -> type[Path] | None:
    """The path that an installed package declares under a name; None if there is none.

    Raises:
        ConfigError: where two do, it cannot be imported, or is no path of that name.
    """
    found = list(entry_points(group=GROUP, name=name))
    if not found:
        return None
    if len({point.value for point in found}) > 1:
        raise ConfigError(
            f"path '{name}' is declared by {' and '.join(point.value for point in found)}: uninstall all but one."
        )
    point = found[0]
    try:
        kind = point.load()
    except Exception as error:  # the code of others may raise anything
        raise ConfigError(
            f"path '{name}' ({point.value}) cannot be imported ({type(error).__name__}: {error}). Repair or uninstall "
            "the package that declares it."
        ) from error
    if not (isinstance(kind, type) and issubclass(kind, Path) and getattr(kind, "name", None) == name):
        raise ConfigError(
            f"entry point '{GROUP}' has '{name}' = {point.value}: needed is a subclass of realuid.paths.Path whose "
            f"name is '{name}'."
        )
    return kind
