"""Out of memory: oneDNN's 'could not create a primitive' is not taken for it (no smaller parts), sample gives a
traceback.
"""

from common import cli, tiny, verdict

tiny("g")
rc, out, _ = cli("sample", "g", "--count", "60000", "--batch", "60000", "--out", "x.zip", gb=1.45)
rc2, out2, _ = cli(
    "train",
    "demo",
    "--updates",
    "2",
    "--batch",
    "1500",
    "--network.channels",
    "128",
    "128",
    "--sample-every",
    "0",
    "--out",
    "t",
    gb=2.0,
)
verdict(1 in (rc, rc2) or (rc2 or 0) < 0, f"sample: rc {rc}; train: rc {rc2}")
