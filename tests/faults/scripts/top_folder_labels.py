"""A zip (or folder) whose contents lie in one top folder loses its labels without a word: dataset.json is only looked
for at
the very top, one level below it is passed over.

Right: the labels are read, or there is an error or a warning that names the file. Exit code 1 while the fault is
there.
"""

import io
import json
import os
import sys
import tempfile
import zipfile

import numpy as np
from PIL import Image

import realuid

root = tempfile.mkdtemp()
names = [f"00000/img{i:08d}.png" for i in range(12)]
listing = json.dumps({"labels": [[name, i % 3] for i, name in enumerate(names)]})


def png(i):
    out = io.BytesIO()
    Image.fromarray(np.full((8, 8), i, np.uint8)).save(out, "PNG")
    return out.getvalue()


bad = 0
for top in ("", "mydata/"):
    path = os.path.join(root, f"{top[:-1] or 'plain'}.zip")
    with zipfile.ZipFile(path, "w") as archive:
        for i, name in enumerate(names):
            archive.writestr(top + name, png(i))
        archive.writestr(f"{top}dataset.json", listing)
    folder = path[:-4]
    zipfile.ZipFile(path).extractall(folder)
    for source in (path, folder):
        data = realuid.load_dataset(source)
        print(f"{os.path.basename(source):12s} {data.num_classes} classes (3 in dataset.json)")
        bad |= data.num_classes != 3
sys.exit(bad)
