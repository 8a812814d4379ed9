"""A FIFO as model file, or as model.safetensors / unused.safetensors in a folder, hangs for ever; so does
checksums.json naming /proc/kmsg.
"""

import os
import shutil

from common import W, cli, tiny, verdict

tiny("g")
os.unlink("g/checksums.json")
shutil.copytree("g", "k")
os.unlink("g/model.safetensors")
os.mkfifo("g/model.safetensors")
os.mkfifo("f")
(W / "k/checksums.json").write_text('{"../../../../../../../etc/hostname": "0"}')
rc1, _, _ = cli("info", "g", timeout=15)
rc2, _, _ = cli("info", "f", timeout=15)
rc3, out3, _ = cli("info", "k", timeout=15)
verdict(
    rc1 is None or rc2 is None,
    f"weights FIFO hangs: {rc1 is None}; FIFO as model hangs: {rc2 is None}; checksums.json reads outside of its folder: {'does not match' in out3}",
)
