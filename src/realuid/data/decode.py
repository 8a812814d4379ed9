"""Decoding of one image to uint8 pixels, with a record of changes."""

from __future__ import annotations

import contextlib
import errno
import functools
import io
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
from PIL import ExifTags, Image, ImageOps

from realuid.reading import read_limited

#: The formats that are read; Pillow knows more, and starts Ghostscript for one of them.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "JPEG2000", "AVIF")
#: Endings of such files. A file without any ending counts as well.
ENDINGS = frozenset(
    {".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".dib", ".gif", ".tif", ".tiff"}
    | {".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".avif"}
)
#: Maximum pixels of an image: 50 megapixels, which take about 200 MB while decoded.
MAX_PIXELS = 48 * 2**20
#: Maximum bytes of an encoded image.
MAX_BYTES = 2**28
#: Encoded bytes, or pixels, from which on only one image is decoded at a time.
LARGE = 2**22
#: Pixels from which on a JPEG file is reduced while it is decoded, where a smaller side length was asked for.
_REDUCED = 2**24
_MODES = {1: "L", 3: "RGB"}
_GREY = ("1", "L", "LA", "La")
#: Orientations in EXIF data that swap width and height.
_TURNED = (5, 6, 7, 8)
_one_at_a_time = threading.RLock()

#: A side length, or height and width, to crop to around the centre and resize to; None keeps the size.
Size: TypeAlias = int | tuple[int, int] | None

#: What may be changed in an image -> how a message says so.
CHANGES = {
    "transparent": "have transparent pixels, which are read on a white background",
    "animated": "have several frames or pages, of which the first is read",
    "deep": "have 16 bits a channel, of which the upper 8 are read",
}


class UnreadableError(Exception):
    """An image that cannot be read; the text is the reason."""


class GoneError(UnreadableError):
    """A file that is no longer there, though it was when the data was opened."""


#: Numbers of such errors: of a file, or of the file system that it is on.
GONE = (errno.ENOENT, errno.ESTALE, errno.ENOTCONN, errno.EHOSTDOWN, errno.ETIMEDOUT)


class OtherFormatError(UnreadableError):
    """A file of none of `FORMATS`."""


class Decoded(NamedTuple):
    """Pixels, uint8, shape (h, w, c), and the keys of `CHANGES` that apply to them."""

    pixels: np.ndarray
    changes: frozenset[str]


def alone_if(large: bool) -> contextlib.AbstractContextManager:
    """A context in which no other large image is decoded, where this one is large."""
    return _one_at_a_time if large else contextlib.nullcontext()


@functools.cache
def known_formats() -> tuple[str, ...]:
    """Those of `FORMATS` that this Pillow was built with: AVIF comes with 11.3."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def decode(content: bytes, channels: int | None, resolution: Size) -> Decoded:
    """Pixels of one encoded image, oriented by its EXIF data.

    Args:
        content: a file of one of `FORMATS`.
        channels: 1 or 3 to convert; None keeps grey grey and makes everything else RGB.
        resolution: what to crop to around the centre and resize to; None keeps the size.

    Raises:
        UnreadableError: for damaged files, other formats, more than `MAX_PIXELS`, and pixels without a known range.
    """
    with _opened(content) as opened:
        _reduce(opened, resolution)
        width, height = opened.size
        if width * height > MAX_PIXELS:
            raise UnreadableError(_too_large(f"{width * height:,} pixels ({width}x{height})"))
        with alone_if(width * height > LARGE):
            return pixels_of(opened, channels, resolution)


def size_of(content: bytes) -> tuple[int, int]:
    """Height and width of an encoded image, oriented by its EXIF data, without its pixels; errors as of `decode`."""
    with _opened(content) as opened:
        turned = opened.getexif().get(ExifTags.Base.Orientation) in _TURNED
        return opened.size if turned else (opened.height, opened.width)


@contextlib.contextmanager
def _opened(content: bytes) -> Iterator[Image.Image]:
    """An encoded image; what decoders raise becomes an UnreadableError."""
    try:
        with Image.open(io.BytesIO(content), formats=known_formats()) as opened:
            yield opened
    except UnreadableError:
        raise
    except Image.UnidentifiedImageError as error:
        raise OtherFormatError(f"damaged, or none of {', '.join(FORMATS)}") from error
    except Image.DecompressionBombError as error:
        raise UnreadableError(_too_large("too many pixels")) from error
    except Exception as error:  # decoders of damaged files raise nearly every type
        raise UnreadableError(f"damaged: {error or type(error).__name__}") from error


def read_named(name: object, folders: Sequence[str | Path]) -> bytes:
    """The file of an image that a row of a table names instead of holding it.

    Args:
        name: a path; a relative one is below the first folder.
        folders: of the table. What else this machine holds is not for its author to name.

    Raises:
        UnreadableError: for other files.
        CheckpointError, OSError: for one that is no regular file, is too large, or is not there.
    """
    tops = [place for folder in map(Path, folders) for place in (folder.absolute(), folder.resolve())]
    path = Path(os.path.normpath(tops[0] / name)) if isinstance(name, str) and "\0" not in name else None
    if path is None or not any(path.is_relative_to(os.path.normpath(top)) for top in tops):
        raise UnreadableError(
            f"it names '{name}', which is not in the folder of the data; a row holds its image itself"
        )
    return read_limited(path, MAX_BYTES)


def _too_large(what: str) -> str:
    return f"{what}, at most {MAX_PIXELS:,} pixels are read: make it smaller"


def _reduce(opened: Image.Image, resolution: Size) -> None:
    if resolution and opened.width * opened.height > _REDUCED:
        height, width = sides(resolution)
        opened.draft(None, (max(height, width),) * 2)  # has an effect on JPEG files alone


@functools.cache
def decoders() -> ThreadPoolExecutor:
    """The threads that decode images which are read by row."""
    return ThreadPoolExecutor(min(8, os.cpu_count() or 1), "realuid-decode")


def sides(resolution: int | tuple[int, int]) -> tuple[int, int]:
    """Height and width."""
    return (resolution, resolution) if isinstance(resolution, int) else resolution


def pixels_of(image: Image.Image, channels: int | None, resolution: Size) -> Decoded:
    """Pixels of an opened image, which is turned in place as its EXIF data say; arguments and errors as of `decode`."""
    changes = {"animated"} if image.format != "MPO" and getattr(image, "is_animated", False) else set()
    if image.mode.startswith("I;16") or ";16" in str([tile[3] for tile in getattr(image, "tile", [])]):
        changes.add("deep")
    ImageOps.exif_transpose(image, in_place=True)
    image = _eight_bits(image)
    grey = image.mode in _GREY
    if image.has_transparency_data:
        image = image.convert("RGBA")
        if np.asarray(image.getchannel("A")).min() < 255:
            changes.add("transparent")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    mode = _MODES[channels or (1 if grey else 3)]
    image = image if image.mode == mode else image.convert(mode)
    if resolution:
        image = _fitted(image, *sides(resolution))
    pixels = np.asarray(image)
    return Decoded(pixels[..., None] if pixels.ndim == 2 else pixels, frozenset(changes))


def _fitted(image: Image.Image, height: int, width: int) -> Image.Image:
    """The largest centred part of these proportions, resized."""
    if image.size == (width, height):
        return image
    scale = min(image.width / width, image.height / height)
    across, down = max(1, round(width * scale)), max(1, round(height * scale))
    if (across, down) != image.size:
        left, top = (image.width - across) // 2, (image.height - down) // 2
        image = image.crop((left, top, left + across, top + down))
    return image.resize((width, height), Image.Resampling.LANCZOS)


def _eight_bits(image: Image.Image) -> Image.Image:
    """The image with 8 bits a channel: the upper ones of 16, where Pillow would clip at 255."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise UnreadableError("pixels of 32 bits, whose range is not known: convert it to 8 or 16 bits")
    return image
