"""Encoded images by name from a folder, a zip or a tar, read on access."""

from __future__ import annotations

import dataclasses
import os
import posixpath
import re
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from realuid.data.decode import ENDINGS, MAX_BYTES
from realuid.errors import DataError

#: Labels of a folder or zip in the EDM layout.
LABELS = "dataset.json"
#: Captions of a folder or zip in the layouts of Hugging Face's imagefolder.
METADATA = ("metadata.csv", "metadata.jsonl")
#: Endings of the class and of the caption beside an image, in a tar as webdataset reads it.
CLASS, CAPTION = ".cls", ".txt"


class Entry(NamedTuple):
    """A file: its size in bytes, and what reads it. `problem` says why it cannot be read at all.

    `version` is another one when the file was written again: its time, or its checksum.
    """

    size: int
    read: Callable[[], bytes]
    problem: str = ""
    version: int = 0


@dataclass(frozen=True)
class Files:
    """Encoded images under their names, from a folder, a zip or a tar.

    Attributes:
        source: for messages, and to name the data after.
        entries: name -> image, in the order of names.
        listings: folder -> its dataset.json.
        classes: name of an image -> the class that stands beside it (tars).
        metadata: name of each metadata.jsonl or metadata.csv.
        texts: name of an image -> the .txt file beside it.
        left_out: names of other files.
        within: the folder that names are relative to; '' for all.
    """

    source: str
    entries: dict[str, Entry]
    listings: dict[str, Entry] = field(default_factory=dict)
    classes: dict[str, Entry] = field(default_factory=dict)
    metadata: dict[str, Entry] = field(default_factory=dict)
    texts: dict[str, Entry] = field(default_factory=dict)
    left_out: Sequence[str] = ()
    within: str = ""

    @property
    def names(self) -> list[str]:
        """Names of the images."""
        return list(self.entries)

    def read(self, name: str) -> bytes:
        """The content of an image.

        Raises:
            DataError: where it is larger than any image may be, or the archive is damaged there.
        """
        return read_entry(self.entries[name])

    def inside(self, folder: str) -> Files:
        """The images of one folder, under their names inside; listings of all of its parents stay."""
        start = f"{folder}/"

        def below(entries: dict[str, Entry]) -> dict[str, Entry]:
            return {k.removeprefix(start): v for k, v in entries.items() if k.startswith(start)}

        listings = {k.removeprefix(start): v for k, v in self.listings.items() if k.startswith(start)}
        listings |= {"": self.listings[folder]} if folder in self.listings else {}
        listings = listings or {k: v for k, v in self.listings.items() if k == "" or start.startswith(f"{k}/")}
        return dataclasses.replace(
            self,
            entries=below(self.entries),
            classes=below(self.classes),
            texts=below(self.texts),
            metadata=below(self.metadata),
            listings=listings,
            within=folder,
        )


def read_entry(entry: Entry) -> bytes:
    """The content of a file, or a DataError with the reason why it cannot be read."""
    if entry.problem:
        raise DataError(entry.problem)
    if entry.size > MAX_BYTES:
        raise DataError(f"{entry.size:,} bytes, at most {MAX_BYTES:,} are read")
    try:
        return entry.read()
    except Exception as error:  # damaged archives raise nearly every type
        raise DataError(f"damaged: {error or type(error).__name__}") from error


def open_files(path: str | Path) -> Files:
    """The images of a folder, a zip or a tar.

    Raises:
        DataError: where none is there, it holds no images, or the archive is damaged.
    """
    path = Path(path)
    if path.is_dir():
        files = open_folder(path)
    elif path.is_file():
        files = _open_archive(path)
    elif path.exists():
        raise DataError(f"'{path}' is neither a folder nor a file, but a device, a pipe or a socket.")
    else:
        raise DataError(f"there is no folder, zip or tar at '{path}'.")
    if not files.entries:
        found = f" (but {few(files.left_out)})" if files.left_out else ""
        raise DataError(f"'{path}' holds no images{found}. Read are {', '.join(sorted(ENDINGS))}.")
    return files


def few(names: Sequence[str], shown: int = 3) -> str:
    """Some names for a message: the first ones, and how many more there are."""
    return shortened([quoted(name) for name in names], shown)


def shortened(parts: Sequence[str], shown: int) -> str:
    """The first parts of a list, and how many more there are."""
    return ", ".join(parts[:shown]) + (f" and {len(parts) - shown} more" if len(parts) > shown else "")


def quoted(name: str) -> str:
    """A name in quotation marks, without characters that a terminal would carry out."""
    return "'" + "".join(c if c.isprintable() else "?" for c in name) + "'"


def _open_archive(path: Path) -> Files:
    if path.suffix.lower() in ENDINGS:
        raise DataError(f"'{path}' is a single image. Put images into a folder or a zip, and pass that.")
    kind, reader = ("tar", open_tar) if path.suffix.lower() == ".tar" else ("zip", open_zip)
    try:
        return reader(path)
    except DataError:
        raise
    except Exception as error:  # damaged directories raise nearly every type
        reason = str(error) or type(error).__name__
        raise DataError(f"'{path}' is not a whole {kind} file ({reason}). Download or write it again.") from error


def open_zip(path: Path) -> Files:
    """The images of a zip; the zip stays open as long as they can be read."""
    archive = zipfile.ZipFile(path)

    infos = (info for info in archive.infolist() if not info.is_dir())
    found = [(info.filename, Entry(info.file_size, partial(archive.read, info), version=info.CRC)) for info in infos]
    return _collect(str(path), _apart(str(path), found))


def open_tar(path: Path) -> Files:
    """The images of a tar that is not compressed; links in it are left out."""

    def reader(member: tarfile.TarInfo) -> Callable[[], bytes]:
        def read() -> bytes:
            with path.open("rb") as file:
                file.seek(member.offset_data)
                return _exactly(file.read(member.size), member.size)

        return read

    with tarfile.open(path, "r:") as archive:
        members = [m for m in archive if not m.isdir()]
    plain = [
        (m.name, Entry(m.size, reader(m), version=int(m.mtime))) for m in members if m.isreg() and not m.issparse()
    ]
    links = [m.name for m in members if not m.isreg() or m.issparse()]
    return _collect(str(path), _apart(str(path), plain), links)


def _exactly(content: bytes, size: int) -> bytes:
    if len(content) != size:
        raise EOFError(f"it ends after {len(content)} of {size} bytes")
    return content


def open_folder(path: Path) -> Files:
    """The images of a folder, searched through all levels.

    Links to files and folders are followed; a folder that is reached a second time is left out.
    """
    found, special = {}, []
    for place in _walk(path):
        name = place.relative_to(path).as_posix()
        try:
            status = place.stat()
        except OSError:
            found[name] = Entry(0, place.read_bytes, "a link to nothing")
            continue
        if stat.S_ISREG(status.st_mode):
            found[name] = Entry(status.st_size, place.read_bytes, version=status.st_mtime_ns)
        else:
            special.append(name)
    return _collect(str(path), found, special)


def _walk(top: Path) -> Iterable[Path]:
    """All files below a folder, and folders that were reached before."""

    def refuse(error: OSError) -> None:
        raise DataError(f"'{error.filename}' cannot be read ({error.strerror}).") from error

    seen = set()
    for folder, folders, names in os.walk(top, followlinks=True, onerror=refuse):
        folders.sort()
        here = Path(folder)
        status = here.stat()
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            yield here
            continue
        seen.add((status.st_dev, status.st_ino))
        yield from (here / name for name in names)


def _apart(source: str, found: Sequence[tuple[str, Entry]]) -> dict[str, Entry]:
    """Files of an archive under plain names.

    Raises:
        DataError: for names that lead outside, and two files of one name.
    """
    plain: dict[str, Entry] = {}
    for raw, entry in found:
        name = posixpath.normpath(raw.replace("\\", "/"))  # as some programs on Windows write them
        if name == ".":
            continue
        if name.startswith(("/", "../")) or name == ".." or re.match(r"[A-Za-z]:/", name):
            raise DataError(f"'{source}' holds the name '{raw}', which leads outside of it. Write it again.")
        if name in plain:
            raise DataError(f"'{source}' holds two files called '{name}'. Write it again with one of them.")
        plain[name] = entry
    return plain


def _collect(source: str, found: dict[str, Entry], special: Sequence[str] = ()) -> Files:
    """Images, listings and classes among the files, and the names of the others; hidden ones do not count at all."""
    shown = {name: entry for name, entry in found.items() if not _is_hidden(name)}
    images = {name: shown[name] for name in sorted(shown) if _is_image(name)}
    stems = {_stem(name): name for name in images}
    beside = {
        end: {n: e for n, e in shown.items() if n.endswith(end) and _stem(n) in stems} for end in (CLASS, CAPTION)
    }
    classes, texts = ({stems[_stem(n)]: e for n, e in found.items()} for found in beside.values())
    listed = {name: entry for name, entry in shown.items() if posixpath.basename(name) == LABELS}
    listings = {posixpath.dirname(name): entry for name, entry in listed.items()}
    metadata = {name: shown[name] for name in sorted(shown) if posixpath.basename(name) in METADATA}
    used = images.keys() | beside[CLASS].keys() | beside[CAPTION].keys() | listed.keys() | metadata.keys()
    left_out = sorted([*(n for n in shown if n not in used), *(name for name in special if not _is_hidden(name))])
    return Files(source, images, listings, classes, metadata, texts, left_out)


def _stem(name: str) -> str:
    return posixpath.splitext(name)[0]


def _is_hidden(name: str) -> bool:
    """Whether a file is what operating systems leave behind, or hidden."""
    parts = PurePosixPath(name).parts
    return parts[-1] in ("Thumbs.db", "desktop.ini") or any(p.startswith(".") or p == "__MACOSX" for p in parts)


def _is_image(name: str) -> bool:
    suffix = PurePosixPath(name).suffix.lower()
    return suffix in ENDINGS or not suffix


def common_folder(names: Sequence[str]) -> str:
    """The deepest folder that all names lie in; '' for the top."""
    folders = [posixpath.dirname(name) for name in names]
    return posixpath.commonpath(folders) if folders and all(folders) else ""
