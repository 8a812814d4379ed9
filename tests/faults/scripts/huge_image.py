"""An image of more than 179 million pixels (a scan, a satellite tile) is "not an image that can be read. Remove it or
repair it",
also with resolution=64; the reason, Pillow's limit, is not told.

Right: the message says so (or reduces the image while decoding). Exit code 1 while the fault is there.
"""

import os
import sys
import tempfile

from PIL import Image

import realuid

folder = tempfile.mkdtemp()
Image.new("L", (20000, 10000)).save(os.path.join(folder, "a.png"))
try:
    print(realuid.load_dataset(folder, resolution=64).values.shape)
except realuid.errors.RealUIDError as error:
    print(error)
    sys.exit("pixels" not in str(error))
