"""Classes from sub-folders lose their names, and folders with numbers are put in the order of letters: class "2" is
folder "10".

`Dataset.classes` says '0', '1', ... instead of the folders' names, and nothing (info, config.json) says which is
which, so that
`realuid sample --classes 2` draws what lay in folder 10. Right: the folders' names are the classes' names, numbers
in
their own order (or at least shown). Exit code 1 while the fault is there.
"""

import os
import sys
import tempfile

import numpy as np
from PIL import Image

import realuid

root = tempfile.mkdtemp()
for number in range(12):
    os.makedirs(os.path.join(root, str(number)))
    Image.fromarray(np.full((8, 8), 20 * number, np.uint8)).save(os.path.join(root, str(number), "a.png"))
data = realuid.load_dataset(root)
folder_of = {int(y): int(x.float().mean()) // 20 for x, y in zip(data.values, data.labels)}
wrong = {data.classes[y]: str(f) for y, f in folder_of.items() if data.classes[y] != str(f)}
print("class name -> the folder its images come from, where they differ:", wrong)
sys.exit(bool(wrong))
