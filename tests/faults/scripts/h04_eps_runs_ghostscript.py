"""An EPS file named .png makes Pillow run `gs` (Ghostscript) from PATH on a stranger's PostScript."""

import os
import zipfile

from common import W, cli, verdict

(W / "bin").mkdir()
(W / "bin/gs").write_text(f"#!/bin/sh\necho called > {W}/CALLED\nexit 1\n")
(W / "bin/gs").chmod(0o755)
eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"
with zipfile.ZipFile("d.zip", "w") as a:
    a.writestr("a.png", eps)
rc, out, _ = cli("info", "d.zip", env={"PATH": f"{W}/bin:" + os.environ["PATH"]})
verdict((W / "CALLED").exists(), "an external interpreter was started for a file called a.png in a data set")
