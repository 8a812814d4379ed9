"""Transparency is dropped without a word: whatever colour lies below transparent pixels is trained on.

Right: composite on one background, or an error or a warning. Exit code 1 while the fault is there.
"""

import os
import sys
import tempfile
import warnings

import numpy as np
from PIL import Image

import realuid

alpha = np.zeros((8, 8), np.uint8)
alpha[2:6, 2:6] = 255  # a white square on nothing
hidden = np.full((8, 8, 3), (255, 0, 255), np.uint8)
hidden[2:6, 2:6] = 255
folder = tempfile.mkdtemp()
Image.fromarray(np.dstack([hidden, alpha])).save(os.path.join(folder, "rgba.png"))
palette = Image.fromarray(alpha // 255).convert("P")
palette.putpalette([255, 0, 255, 255, 255, 255] + [0] * 762)
palette.save(os.path.join(folder, "palette.png"), transparency=0)
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    try:
        data = realuid.load_dataset(folder)
    except realuid.errors.RealUIDError as error:
        print("refused:", error)
        sys.exit(0)
said = [w for w in said if type(w.message).__module__.startswith("realuid")]
corners = data.values[:, :, 0, 0].tolist()
print("transparent corner pixels became", corners, "; warnings:", len(said))
sys.exit(int(not said and any(c == [255, 0, 255] for c in corners)))
