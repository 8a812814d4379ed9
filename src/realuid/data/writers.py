"""Writing samples atomically: one picture, a zip in the EDM layout, a tar for webdataset, or PNG files."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

import torch
from PIL import Image
from torch import Tensor

from realuid.data.grid import save_grid
from realuid.data.pixels import to_uint8
from realuid.errors import ConfigError
from realuid.files import atomic_file, atomic_folder, check_writable, outside, refuse_below_file

#: Channels of a PNG file: grey, grey with alpha, RGB, RGB with alpha.
_CHANNELS = range(1, 5)
#: What `write_samples` and `write_named` write beside new folders.
SAMPLES, NAMED = (".png", ".zip", ".tar"), (".zip",)
#: Comment of the archives written here: no others are replaced.
_MARK = "written by realuid"


def check_out(out: Path, endings: Sequence[str] = SAMPLES, *sources: str | Path) -> None:
    """Raise ConfigError where no images can be written: before any is made.

    Args:
        out: a file of one of the endings, or a folder.
        endings: `SAMPLES` or `NAMED`.
        sources: what is read for the images, which is never replaced.
    """
    if out.suffix in endings:
        check_writable(out, *sources)
        if out.suffix != ".png" and out.exists() and not _is_ours(out):
            raise ConfigError(f"'{out}' is there already, without a mark of realuid. Delete it, or pass another name.")
    elif out.suffix:
        raise ConfigError(f"cannot write '{out}': allowed are {', '.join(f'a {end}' for end in endings)} or a folder.")
    elif out.is_dir() and any(out.iterdir()):
        raise ConfigError(f"'{out}' is not empty. Pass a new folder.")
    elif out.is_file():
        raise ConfigError(f"'{out}' is a file, but a folder is to be written. Pass another name.")
    else:
        refuse_below_file(out)


def _is_ours(archive: Path) -> bool:
    """Whether an archive was written here; those of earlier versions do not say so."""
    try:
        if archive.suffix == ".zip":
            with zipfile.ZipFile(archive) as opened:
                return opened.comment == _MARK.encode()
        with tarfile.open(archive, "r:") as opened:
            return opened.pax_headers.get("comment") == _MARK
    except (OSError, EOFError, NotImplementedError, zipfile.BadZipFile, tarfile.TarError):
        return False


def write_samples(batches: Iterable[Tensor], out: Path, labels: Tensor | None = None) -> None:
    """Write images as they come.

    Args:
        batches: float images in [-1, 1], shape (b, c, h, w).
        out: a .png (one grid), a .zip (EDM layout, labels in dataset.json), a .tar (webdataset: 00000000.png, and
            00000000.cls beside it where there are labels), or a new folder.
        labels: class of every image, for the zip and the tar.

    Raises:
        ConfigError: for another ending, a folder that has something in it, or an archive that is not ours.
    """
    check_out(out)
    if out.suffix == ".png":
        save_grid(torch.cat([batch.cpu() for batch in batches]), out)
    elif out.suffix == ".zip":
        _write_zip(batches, out, labels)
    elif out.suffix == ".tar":
        _write_tar(batches, out, labels)
    else:
        with atomic_folder(out) as folder:
            for number, content in enumerate(_pngs(batches)):
                (folder / f"img{number:08d}.png").write_bytes(content)


def write_named(batches: Iterable[Tensor], names: Sequence[str], out: Path) -> None:
    """Write images under names, as PNG, to a new folder or a .zip.

    Args:
        batches: float images in [-1, 1], shape (b, c, h, w).
        names: one an image; their endings are replaced, their folders kept.
        out: a .zip or a new folder.

    Raises:
        ConfigError: as `write_samples`; also for two images of one name, or a name that leads out of the folder.
    """
    check_out(out, NAMED)
    for name in names:
        if reason := outside(name):
            raise ConfigError(f"no image can be written under the name {name!r}: {reason}. Rename it.")
    targets = [str(PurePosixPath(name).with_suffix(".png")) for name in names]
    double = next((name for name, count in Counter(targets).items() if count > 1), None)
    if double is not None:
        raise ConfigError(f"two images would be written to '{double}': give them different names.")
    folders = {str(parent) for target in targets for parent in PurePosixPath(target).parents}
    if between := folders.intersection(targets):
        raise ConfigError(f"'{between.pop()}' would be an image, and a folder of others: give them different names.")
    if out.suffix == ".zip":
        with atomic_file(out) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            for name, content in zip(targets, _pngs(batches), strict=True):
                archive.writestr(name, content)
            archive.comment = _MARK.encode()
    else:
        with atomic_folder(out) as folder:
            for name, content in zip(targets, _pngs(batches), strict=True):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                with (folder / name).open("xb") as file:  # of two names that are one here, none is lost
                    file.write(content)


def _pngs(batches: Iterable[Tensor]) -> Iterator[bytes]:
    """The PNG files of a stream of images, in order."""
    for batch in batches:
        for pixels in to_uint8(_as_images(batch)).permute(0, 2, 3, 1).contiguous().cpu().numpy():
            buffer = io.BytesIO()
            Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels).save(
                buffer, "PNG", compress_level=1
            )
            yield buffer.getvalue()


def _as_images(batch: Tensor) -> Tensor:
    if batch.dim() != 4:
        raise ConfigError("only images can be written as files; points of a toy distribution fit a .png grid.")
    if batch.shape[1] not in _CHANNELS:
        raise ConfigError(f"images of {batch.shape[1]} channels cannot be written as PNG: allowed are 1 to 4.")
    return batch


def _write_zip(batches: Iterable[Tensor], out: Path, labels: Tensor | None) -> None:
    names = []
    with atomic_file(out) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for number, content in enumerate(_pngs(batches)):
            names.append(f"{number // 1000:05d}/img{number:08d}.png")
            archive.writestr(names[-1], content)
        pairs = None if labels is None else [[name, int(label)] for name, label in zip(names, labels, strict=True)]
        archive.writestr("dataset.json", json.dumps({"labels": pairs}))
        archive.comment = _MARK.encode()


def _write_tar(batches: Iterable[Tensor], out: Path, labels: Tensor | None) -> None:
    about = {"comment": _MARK}
    with (
        atomic_file(out) as temporary,
        tarfile.open(temporary, "w", format=tarfile.PAX_FORMAT, pax_headers=about) as archive,
    ):

        def add(name: str, content: bytes) -> None:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))

        for number, content in enumerate(_pngs(batches)):
            add(f"{number:08d}.png", content)
            if labels is not None:
                add(f"{number:08d}.cls", str(int(labels[number])).encode())
