"""evaluate crashes where a class has fewer than two images (demo: after all training)."""

import io
import json
import zipfile

from common import cli, tiny, verdict
from PIL import Image

with zipfile.ZipFile("d.zip", "w") as a:
    for i in range(40):
        b = io.BytesIO()
        Image.effect_noise((8, 8), 80).save(b, "PNG")
        a.writestr(f"{i:02d}.png", b.getvalue())
    a.writestr("dataset.json", json.dumps({"labels": [[f"{i:02d}.png", 2 if i == 39 else i % 2] for i in range(40)]}))
tiny("g", classes=3)
rc, out, _ = cli("evaluate", "g", "--samples", "30", "--seeds", "1", "--data.source", "d.zip")
verdict(rc == 1, "unexpected error, exit 1: a class with one image")
