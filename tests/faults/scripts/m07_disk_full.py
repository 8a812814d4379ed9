"""On a full disk: 'unexpected error', exit 1, and export --to torch aborts with SIGABRT (needs root for a tmpfs)."""

import subprocess

from common import W, cli, tiny, verdict

tiny("g")
m = W / "mnt"
m.mkdir()
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48k", "tmpfs", str(m)], check=True)
try:
    rc, out, _ = cli("export", "g", m / "a.pt2", "--to", "torch")
    rc2, out2, _ = cli("convert", "g", m / "c")
finally:
    subprocess.run(["umount", "-l", str(m)])
verdict(
    (rc or 0) < 0 or rc2 == 1,
    f"export torch: rc {rc}; convert: rc {rc2} (a clear message and exit 2 are what sample does)",
)
