"""Damaged or lying files that end in a traceback (exit 1) instead of a message (exit 2)."""

import json
import os
import zipfile

from common import W, cli, png, tiny, verdict

bad = []


def seen(what, *a, **k):
    rc, out, _ = cli(*a, **k)
    if rc == 1:
        bad.append(what)


with zipfile.ZipFile("dot.zip", "w") as a:
    a.writestr(".", png())
    a.writestr("a.png", png())
seen("zip entry '.'", "info", "dot.zip")
with zipfile.ZipFile("lab.zip", "w") as a:
    a.writestr("a.png", png())
    a.writestr("dataset.json", '{"labels": [["a.png", 100000000000000000000]]}')
seen("label 10^20", "info", "lab.zip")
with zipfile.ZipFile("x.zip", "w") as a:
    a.writestr("a.png", png())
b = bytearray(open("x.zip", "rb").read())
i = b.find(b"PK\x01\x02")
b[i + 2] ^= 0xFF
open("bad.zip", "wb").write(b)
seen("damaged central directory", "info", "bad.zip")
tiny("g", data="digits")
seen("config.json with data as text, export diffusers", "export", "g", "c", "--to", "diffusers")
tiny("h")
(W / "h/checksums.json").write_text("[[1, 2]]")
seen("checksums.json [[1, 2]]", "info", "h")
tiny("n", classes=3)
os.unlink("n/checksums.json")
c = json.load(open("n/config.json"))
c["null_class"] = "x"
json.dump(c, open("n/config.json", "w"))
seen("null_class = 'x'", "sample", "n", "--count", "1", "--out", "x2.zip")
(W / "m").mkdir()
(W / "m/model_index.json").write_text("[" * 200000)
seen("deep model_index.json", "info", "m")
verdict(bool(bad), f"exit 1 for {len(bad)} of 7: {bad}")
