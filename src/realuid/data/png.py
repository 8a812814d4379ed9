"""Many small images as PNG files, fast: rows are filtered a batch at a time, and compressed by several threads.

Of Pillow's time on a 32x32 image about half is zlib's, and two threads of it are no faster than one, since it holds
Python's lock in between; zlib alone releases the lock. `python benchmarks/writing.py` times both.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

import numpy as np
from torch import Tensor

from realuid.errors import ConfigError

#: Channels -> colour type of the header: grey, grey with alpha, RGB, RGB with alpha (PNG specification, table 11.1).
_COLOUR = {1: 0, 2: 4, 3: 2, 4: 6}
#: Filter type of a row that is stored as its difference from the row above (table 9.1).
_UP = 2
#: Fast, and within a few percent of the size of slower levels on photographs.
_LEVEL = 1
#: Bytes of pixels that a thread compresses at once (or one image, where that has more).
_PART = 2**17


def encode(images: Tensor) -> list[bytes]:
    """PNG files of some images.

    Args:
        images: uint8 on the CPU, shape (b, c, h, w), c from 1 to 4.

    Raises:
        ConfigError: for another number of channels.
    """
    _, channels, height, width = images.shape
    if channels not in _COLOUR:
        raise ConfigError(f"images of {channels} channels cannot be written as PNG: allowed are 1 to 4.")
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOUR[channels], 0, 0, 0)
    start, end = b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header), _chunk(b"IEND", b"")
    rows = images.permute(0, 2, 3, 1).flatten(2).numpy()
    filtered = np.empty((len(rows), height, 1 + width * channels), np.uint8)
    filtered[:, :, 0], filtered[:, :, 1:] = _UP, rows
    filtered[:, 1:, 1:] -= rows[:, :-1]
    return [start + _chunk(b"IDAT", zlib.compress(image.data, _LEVEL)) + end for image in filtered]


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(content, zlib.crc32(kind)))


def encode_all(batches: Iterable[Tensor], threads: int | None = None) -> Iterator[bytes]:
    """PNG files of a stream of images, in order, while the next ones are being made.

    Args:
        batches: uint8 images, shape (b, c, h, w).
        threads: that compress; by default one a core, four at most. Twice as many parts wait at a time.
    """
    threads = threads or min(4, os.cpu_count() or 1)
    parts = (part for batch in batches for part in batch.cpu().split(max(1, _PART // batch[0].numel())))
    waiting: deque[Future[list[bytes]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        while True:
            new = islice(parts, 2 * threads - len(waiting))
            waiting.extend(pool.submit(encode, part) for part in new)
            if not waiting:
                return
            yield from waiting.popleft().result()
