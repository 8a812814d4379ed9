"""Images that all lie in one sub-folder (data/images/*.png) count as labelled, with one class: the classifier whose
features FD is measured in has one output, so its loss and its gradients are zero, and FD is measured in untrained
features.

The same images without the sub-folder train it to tell rotations apart. Right: one class is no label.
Exit code 1 while the fault is there.
"""

import os
import sys
import tempfile

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["REALUID_CACHE"] = tempfile.mkdtemp()
import torch
from PIL import Image

import realuid
from realuid.metrics import features
from realuid.recipes import EvaluateConfig
from realuid.recipes.measure import make_evaluator

features.train_classifier.__defaults__ = (0, 600, 64)  # shorter, to be quick
digits, root = realuid.load_dataset("digits"), tempfile.mkdtemp()
for layout in ("flat", "wrapped/images"):
    os.makedirs(os.path.join(root, layout))
    for i in range(600):
        Image.fromarray(digits.values[i, 0].numpy()).save(os.path.join(root, layout, f"{i:04d}.png"))
half, ratio, outputs = digits.values[600:][digits.labels[600:] < 5], {}, {}
for layout in ("flat", "wrapped"):
    measure = make_evaluator(realuid.load_dataset(os.path.join(root, layout)), EvaluateConfig())
    real = measure.data.values
    ratio[layout] = measure.distance(real[:300], half) / measure.distance(real[:300], real[300:])
    outputs[layout] = measure.extractor.head.out_features
    print(
        f"{layout}: the classifier has {outputs[layout]} outputs; FD to five of the ten digits / FD between real halves = {ratio[layout]:.1f}"
    )
with torch.no_grad():
    print("the images are the same:", bool((realuid.load_dataset(os.path.join(root, "flat")).values == real).all()))
sys.exit(outputs["wrapped"] < 2)
