"""Weights are written with mode 0600 whatever the umask: others cannot read an exported or shared model."""

import os
import pathlib

from common import cli, tiny, verdict

os.umask(0o022)
tiny("g")
rc, out, _ = cli("export", "g", "m.safetensors", "--to", "safetensors")
modes = {
    str(p): oct(p.stat().st_mode & 0o777)
    for p in (pathlib.Path("m.safetensors"), pathlib.Path("g/model.safetensors"), pathlib.Path("g/config.json"))
}
verdict(modes["m.safetensors"] != "0o644", f"{modes} under umask 022")
