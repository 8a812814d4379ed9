"""A folder of one's own that is called `digits`: the bundled digits are taken instead, without a word.
Right: a warning, or an error that offers ./digits. Exit code 1 while the fault is there.
"""

import os
import sys

import common  # noqa: F401  # an own folder
import numpy as np
from PIL import Image

import realuid

os.makedirs("digits")
for i in range(7):
    Image.fromarray(np.zeros((28, 28), np.uint8)).save(f"digits/{i}.png")
data = realuid.load_dataset("digits")
print("7 images of 28x28 in the folder; read:", len(data), data.shape)
sys.exit(len(data) != 7)
