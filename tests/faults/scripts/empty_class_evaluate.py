"""Labels that do not start at 0 (or any class of fewer than two images, or --samples below twice the classes):
`evaluate` of a
conditional model draws and scores all samples and then dies with "RuntimeError: More than one sample is required";
on the command
line "unexpected error", nothing of what was measured is printed.

Right: FD, KID, precision and recall are reported and such classes left out (null), or they are refused at the start
with their
names. Exit code 1 while the fault is there.
"""

import os
import sys
import tempfile

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["REALUID_CACHE"] = tempfile.mkdtemp()
import torch

import realuid
from realuid.data import Dataset
from realuid.errors import RealUIDError
from realuid.metrics import features
from realuid.models import MatchingModel, NetworkConfig, build_network
from realuid.paths import LinearPath
from realuid.recipes import EvaluateConfig

features.train_classifier.__defaults__ = (0, 30, 32)  # shorter, to be quick
torch.manual_seed(0)
images, bad = torch.randint(0, 256, (42, 1, 8, 8), dtype=torch.uint8), 0
small = NetworkConfig(channels=(8, 8), blocks=1, attention_at=())
for name, labels, samples in (
    ("labels 1, 2, 3 (class 0 has no image)", torch.arange(42) % 3 + 1, 42),
    ("one class of one image", torch.cat([torch.arange(41) % 3, torch.tensor([3])]), 42),
    ("three classes, five samples", torch.arange(42) % 3, 5),
):
    classes = tuple(map(str, range(int(labels.max()) + 1)))
    model = MatchingModel(build_network(small, (1, 8, 8), len(classes)), LinearPath()).eval()
    try:
        found = realuid.evaluate(
            model, Dataset(images, labels, classes=classes), EvaluateConfig(samples=samples, seeds=1, steps=1)
        )
        print(f"{name}: FD {found.fd}")
    except RealUIDError as error:
        print(f"{name}: {error}")
    except Exception as error:
        bad = 1
        print(f"{name}: {type(error).__name__}: {error}")
sys.exit(bad)
