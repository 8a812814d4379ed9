"""Captions of image files: from metadata.jsonl, or from .txt files beside the images."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from realuid.data.files import CAPTION, METADATA, Entry, Files, few, quoted, read_entry
from realuid.errors import CheckpointError, ConfigError, DataError
from realuid.reading import near, parse_json, read_limited

#: Columns that hold captions, if none is named, in the order of preference.
NAMES = ("text", "caption", "prompt")
#: Stands for a column that a line does not have.
_ABSENT = ("absent",)
#: Longest text that is taken for a caption, in bytes.
_LONGEST = 2**16
#: Largest file of prompts, in bytes.
_LARGEST = 2**30


def captions_of(files: Files) -> dict[str, str | None] | None:
    """What images show, by the name of the image; None where it is not said, or for all if there are no captions.

    metadata.jsonl counts first, as Hugging Face's imagefolder reads it: one JSON object a line with `file_name`,
    relative to its folder, and the caption under the first of `NAMES` that the file has. Otherwise they are in .txt
    files of the images' names.

    Raises:
        DataError: for lines that are no such objects, or text that is not in UTF-8.
    """
    if files.metadata:
        found: dict[str, str | None] = {}
        for folder, entry in files.metadata.items():
            found |= _from_metadata(files, folder, entry)
        return {name: found.get(name) for name in files.names} if any(c is not None for c in found.values()) else None
    if files.texts:
        return {name: _text(files, name) if name in files.texts else None for name in files.names}
    return None


def _from_metadata(files: Files, folder: str, entry: Entry) -> dict[str, str | None]:
    where = f"{posixpath.join(folder, METADATA)} of '{files.source}'"
    try:
        lines = enumerate(lines_of(_decoded(read_entry(entry), where)), 1)
        rows = [_row(line, f"line {n} of {where}") for n, line in lines if line.strip()]
    except CheckpointError as error:
        raise DataError(str(error)) from error
    column = next((i for i in range(len(NAMES)) if any(row[1 + i] is not _ABSENT for row in rows)), 0)
    found: dict[str, str | None] = {}
    for number, row in enumerate(rows, 1):
        name, caption = row[0], None if row[1 + column] is _ABSENT else row[1 + column]
        if not isinstance(name, str) or not isinstance(caption, str | None):
            raise DataError(f'line {number} of {where} is not {{"file_name": "...", "{NAMES[column]}": "..."}}.')
        found[posixpath.normpath(posixpath.join(folder, name))] = caption
    return found


def _row(line: str, where: str) -> tuple[Any, ...]:
    """What counts of a line: the name of the file, and what stands under each of `NAMES`."""
    row = parse_json(line, where, finite=False)
    return row.get("file_name"), *(row.get(name, _ABSENT) for name in NAMES)


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
            f"{which if captions else f'{name!r} has no captions'}. They are read from metadata.jsonl (file_name, "
            "text), from .txt files beside the images, or from a column of text. Add them ('' for no "
            "description), or leave those images out."
        )
    return [caption for caption in captions if caption is not None]
