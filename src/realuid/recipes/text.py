"""Reading untrusted YAML within limits; a file beyond them is a one-line error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from realuid.errors import ConfigError
from realuid.text import printable

#: Limits far above any recipe: bytes of a file, and number of values with aliases expanded.
_BYTES, _VALUES = 1_000_000, 20_000


def read_text(path: Path) -> str:
    """The text of a YAML file.

    Raises:
        ConfigError: where it is no regular file, too large or not in UTF-8.
    """
    if not path.is_file():
        raise ConfigError(f"'{path}' is not a file.")
    if (size := path.stat().st_size) > _BYTES:
        raise ConfigError(f"'{path}' has {size:,} bytes: at most {_BYTES:,} are read.")
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"'{path}' cannot be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"'{path}' is not text in UTF-8 ({error.reason} at byte {error.start}). Save it so."
        ) from error


def parse_yaml(text: str, where: str) -> Any:
    """What YAML text stands for; `where` is for messages.

    Raises:
        ConfigError: for text that is no YAML, is nested too deeply, or has aliases that expand without end.
    """
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if node is not None and _size(node, {}) > _VALUES:
            raise ConfigError(f"'{where}': its aliases stand for more than {_VALUES:,} values.")
        _refuse_invisible(text, where)
        return yaml.safe_load(text)
    except RecursionError as error:
        raise ConfigError(f"'{where}' is nested too deeply.") from error
    except (yaml.YAMLError, ValueError, TypeError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"'{where}' is not valid YAML ({' '.join(str(error).split())[:300]}).") from error


def _refuse_invisible(text: str, where: str) -> None:
    """Raise ConfigError for escapes of characters that would move the cursor where a value is printed."""
    for token in yaml.scan(text, Loader=yaml.SafeLoader):
        if isinstance(token, yaml.ScalarToken) and printable(token.value) != token.value:
            raise ConfigError(
                f"'{where}': the text '{printable(token.value)[:100]}' has characters that cannot be seen. Remove them."
            )


def _size(node: yaml.Node, known: dict[int, int]) -> int:
    """How many values a node stands for; one that holds itself holds more than any number."""
    if id(node) not in known:
        known[id(node)] = _VALUES + 1  # met again while it is counted: it holds itself
        children = [n for pair in node.value for n in pair] if isinstance(node, yaml.MappingNode) else node.value
        known[id(node)] = 1 + sum(_size(n, known) for n in children if isinstance(n, yaml.Node))
    return known[id(node)]
