"""Data sets made by hand (train, distill and evaluate take a Dataset) are not checked: labels without `classes` and
conditional=True give an unconditional model without a word; uint8 levels in an int64 tensor are trained on as
0..255 in data
units; labels of another length, or beyond `classes`, end in an IndexError.

Right: DataError from Dataset. Exit code 1 while the fault is there.
"""

import os
import sys
import tempfile

os.environ.setdefault("OMP_NUM_THREADS", "1")
import torch

import realuid
from realuid import NetworkConfig, TeacherConfig
from realuid.data import Dataset
from realuid.errors import RealUIDError

config = TeacherConfig(updates=1, batch=4, sample_every=0, evaluate_every=0, log_every=1, steps=1)
small, root, bad = NetworkConfig(channels=(8, 8), blocks=1, attention_at=()), tempfile.mkdtemp(), 0
images, labels = torch.randint(0, 256, (32, 1, 8, 8), dtype=torch.uint8), torch.arange(32) % 4


def run(name, make):
    global bad
    try:
        data = make()
        model = realuid.train(
            data,
            os.path.join(root, name),
            network=small,
            config=config,
            path="linear",
            conditional=data.labels is not None,
        )
        said, wrong = (
            f"trained, {model.num_classes} classes, data from {float(data.values.min()):g} to {float(data.values.max()):g}",
            True,
        )
    except RealUIDError as error:
        said, wrong = str(error), False
    except Exception as error:
        said, wrong = f"{type(error).__name__}: {error}", True
    bad |= wrong
    print(f"{name}: {said}")


run("labels without classes", lambda: Dataset(images, labels))
run("levels as int64", lambda: Dataset(images.long()))
run("fewer labels than images", lambda: Dataset(images, labels[:30], classes=tuple("abcd")))
run("labels beyond classes", lambda: Dataset(images, labels, classes=("a", "b")))
sys.exit(bad)
