"""A PNG of 0.5 MB with 13000x13000 pixels takes 2.8 GB; --data.resolution does not help."""

import struct
import zipfile
import zlib

from common import cli, verdict


def big(w, h):
    c = zlib.compressobj(9)
    row = b"\0" * (1 + w * 3)
    body = b"".join(c.compress(row * min(64, h - i)) for i in range(0, h, 64)) + c.flush()
    ch = lambda t, d: struct.pack(">I", len(d)) + t + d + struct.pack(">I", zlib.crc32(t + d))
    return (
        b"\x89PNG\r\n\x1a\n"
        + ch(b"IHDR", struct.pack(">IIBBBBB", w, h, 8, 2, 0, 0, 0))
        + ch(b"IDAT", body)
        + ch(b"IEND", b"")
    )


d = big(13000, 13000)
print(len(d), "bytes")
with zipfile.ZipFile("d.zip", "w") as a:
    a.writestr("a.png", d)
rc, out, mb = cli("info", "d.zip", gb=7)
verdict(mb > 2000, f"peak {mb} MB for one image of half a megabyte (rc {rc})")
