"""realuid restore writes to (and overwrites) absolute paths that a zip's entry names give."""

import zipfile

from common import W, cli, png, tiny, verdict

tiny("bridge", path="brownian_bridge")
(W / "victim").mkdir()
prey = W / "victim/precious.png"
prey.write_bytes(b"precious")
with zipfile.ZipFile("evil.zip", "w") as a:
    a.writestr(str(prey.with_suffix(".jpg")), png(side=8))
    a.writestr("ok.png", png())
rc, out, _ = cli("restore", "bridge", "evil.zip", "out")
verdict(prey.read_bytes() != b"precious", f"a file outside of --out was overwritten: {prey}")
