"""Captions of image files: from metadata.jsonl or metadata.csv, or from .txt files beside the images."""

from __future__ import annotations

import csv
import io
import posixpath
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from realuid.data.files import CAPTION, Files, few, quoted, read_entry
from realuid.errors import CheckpointError, ConfigError, DataError, DataWarning
from realuid.reading import near, parse_json, read_limited

#: Columns that hold captions, if none is named, in the order of preference.
NAMES = ("text", "caption", "prompt")
#: Longest text that is taken for a caption, in bytes.
_LONGEST = 2**16
#: Largest file of prompts, in bytes.
_LARGEST = 2**30


def captions_of(files: Files) -> dict[str, str | None] | None:
    """What images show, by the name of the image; None where it is not said, or for all if there are no captions.

    metadata.jsonl counts first, and then metadata.csv, as Hugging Face's imagefolder reads them: one JSON object a
    line, or one row, with `file_name`, relative to its folder, and the caption under the first of `NAMES` that the file
    has. Otherwise they are in .txt files of the images' names. It is said where a file has no such columns, and nothing
    else has captions.

    Raises:
        DataError: for lines that are no such objects, or text that is not in UTF-8.
    """
    found: dict[str, str | None] = {}
    other: list[str] = []
    for name in files.metadata:
        captions, columns = _from_metadata(files, name)
        found |= captions
        other += [] if captions else [f"{quoted(name)} has the columns {few(columns, 8) or 'none'}"]
    if any(caption is not None for caption in found.values()):
        return {name: found.get(name) for name in files.names}
    if files.texts:
        return {name: _text(files, name) if name in files.texts else None for name in files.names}
    if other:
        needed = f"file_name and {', '.join(NAMES[:-1])} or {NAMES[-1]}"
        warnings.warn(f"'{files.source}': {other[0]}, so no captions: needed are {needed}.", DataWarning, stacklevel=2)
    return None


def _from_metadata(files: Files, name: str) -> tuple[dict[str, str | None], list[str]]:
    """Captions by the name of the image, none where the file has no column of them; and the file's columns."""
    folder, where, rows = posixpath.dirname(name), f"{name} of '{files.source}'", list[tuple[Any, ...]]()
    columns: dict[str, None] = {}
    try:
        text = _decoded(read_entry(files.metadata[name]), where)
        for number, row in (_csv if name.endswith(".csv") else _jsonl)(text, where):
            columns |= dict.fromkeys(row)
            rows.append((number, row.get("file_name"), *(row.get(column) for column in NAMES)))
    except CheckpointError as error:
        raise DataError(str(error)) from error
    column = next((column for column in NAMES if column in columns), None)
    if column is None or "file_name" not in columns:
        return {}, list(columns)
    found: dict[str, str | None] = {}
    for number, image, *captions in rows:
        caption = captions[NAMES.index(column)]
        if not isinstance(image, str) or not isinstance(caption, str | None):
            raise DataError(f'line {number} of {where} is not {{"file_name": "...", "{column}": "..."}}.')
        found[posixpath.normpath(posixpath.join(folder, image))] = caption
    return found, list(columns)


def _jsonl(text: str, where: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of all lines that are not empty, with the numbers of the lines."""
    for number, line in enumerate(lines_of(text), 1):
        if line.strip():
            yield number, parse_json(line, f"line {number} of {where}", finite=False)


def _csv(text: str, where: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of a table, with the numbers of their last lines; cells beyond the columns do not count."""
    table = csv.DictReader(io.StringIO(text, newline=""))
    try:
        for row in table:
            yield table.line_num, {name: cell for name, cell in row.items() if name is not None}
    except csv.Error as error:
        raise DataError(f"{where} cannot be read after line {table.line_num} ({error}).") from error


def _text(files: Files, name: str) -> str:
    entry, what = files.texts[name], f"the {CAPTION} file of {quoted(name)} in '{files.source}'"
    if entry.size > _LONGEST:
        raise DataError(f"{what} has {entry.size:,} bytes. Captions have at most {_LONGEST:,}.")
    try:
        return _decoded(read_entry(entry), what).strip()
    except DataError as error:
        raise DataError(f"{what} cannot be read ({error}).") from error


def _decoded(content: bytes, what: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{what} is not in UTF-8 ({error.reason} at byte {error.start})") from error


def lines_of(text: str) -> list[str]:
    """The lines of a text. Python's splitlines also ends them where no editor does: at U+2028, U+0085, form feeds."""
    return re.split(r"\r\n|\n|\r", text)


def read_prompts(path: str | Path) -> list[str]:
    """Prompts from a text file in UTF-8, one a line; empty lines do not count.

    Raises:
        DataError: where it cannot be read, or holds none.
    """
    try:
        content = read_limited(path, _LARGEST)
    except CheckpointError as error:
        raise DataError(str(error)) from error
    prompts = [line.strip() for line in lines_of(_decoded(content, f"'{path}'")) if line.strip()]
    if not prompts:
        raise DataError(f"'{path}' holds no prompts. Write one a line.")
    return prompts


def listed_prompts(prompts: Sequence[str]) -> list[str]:
    """The prompts themselves, or the lines of the one file that is named instead.

    Raises:
        ConfigError: for what is called like a file of prompts, but is none, or stands beside others.
        DataError: for a file that holds none.
    """
    try:
        named = len(prompts) == 1 and Path(prompts[0]).is_file()
    except OSError:  # longer than any name is
        named = False
    if named:
        return read_prompts(prompts[0])
    for prompt in prompts:
        if prompt.endswith(".txt") and len(prompt.split()) == 1:
            found = f"no such file.{near(Path(prompt))}" if len(prompts) == 1 else "beside other prompts."
            raise ConfigError(f"prompts = '{prompt}': {found} Pass one file with a prompt a line, or the prompts.")
    return list(prompts)


def caption_column(features: Mapping[str, Any], asked: Mapping[str, str], name: str) -> str | None:
    """The column of a table of `datasets` that holds captions: the one asked for, or the first of `NAMES` with text.

    Raises:
        DataError: for a column that holds no text.
    """
    texts = [key for key, kind in features.items() if getattr(kind, "dtype", "") in ("string", "large_string")]
    if "text" in asked and asked["text"] not in texts:
        raise DataError(
            f"'{name}': no column of text is called {asked['text']}. Such columns are {few(texts) or 'none'}."
        )
    return asked.get("text", next((key for key in NAMES if key in texts and key != asked.get("label")), None))


def complete(captions: Sequence[str | None], name: str) -> list[str]:
    """The captions themselves.

    Raises:
        DataError: where there are none, or they are missing for some samples.
    """
    missing = sum(caption is None for caption in captions)
    if not captions or missing:
        first = next((i for i, caption in enumerate(captions) if caption is None), 0)
        which = f"{missing} of {len(captions)} samples of '{name}', the first of them number {first}, have no caption"
        raise DataError(
            f"{which if captions else f'{name!r} has no captions'}. They are read from metadata.jsonl or "
            "metadata.csv (file_name, text), from .txt files beside the images, or from a column of text. Add them ('' "
            "for no description), or leave those images out."
        )
    return [caption for caption in captions if caption is not None]
