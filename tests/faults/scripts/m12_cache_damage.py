"""A damaged classifier in $REALUID_CACHE makes every evaluation fail with a traceback (statistics are computed anew)."""

import struct

from common import W, cli, tiny, verdict

tiny("g", classes=10)
a = ("evaluate", "g", "--samples", "60", "--seeds", "1", "--data.source", "digits")
rc0, out0, _ = cli(*a)
f = next((W / "cache").glob("classifier*-0.safetensors"))
good = f.read_bytes()
f.write_bytes(good[:100])
rc, out, _ = cli(*a)
b = bytearray(good)
b[struct.unpack("<Q", good[:8])[0] + 8 + 403] ^= 8
f.write_bytes(b)
rc2, out2, _ = cli(*a)
fd = lambda o: [l for l in o.splitlines() if "fd_mean" in l]
verdict(
    rc == 1 or fd(out2) != fd(out0),
    f"truncated: rc {rc}; one flipped bit: rc {rc2}, {fd(out0)} becomes {fd(out2)} without a word",
)
