"""Small captioned images in folders, zips and tars."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

CAPTIONS = ["a red seven", "a blue one, dark", "zwölf"]


def png(level: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((4, 4, 3), level, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def metadata(*names: str, captions: list = CAPTIONS, column: str = "text") -> bytes:
    """Lines in another order than the names."""
    rows = [{"category": 1, column: c, "file_name": n} for n, c in zip(names, captions, strict=True)]
    return "\n\n".join(json.dumps(row) for row in reversed(rows)).encode()


def folder(tmp_path: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    return tmp_path


def zipped(tmp_path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(tmp_path / "d.zip", "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return tmp_path / "d.zip"


def tarred(tmp_path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(tmp_path / "d.tar", "w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return tmp_path / "d.tar"
