"""`realuid.sample(labels=...)` checks nothing: classes out of range, too few labels, lists and floats end in torch's
own errors
from deep inside, and labels for an unconditional model have no effect, without a word.

The command line checks --classes. Right: ConfigError in one line; labels for an unconditional model refused.
Exit code 1 while the fault is there.
"""

import os
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")
import torch

import realuid
from realuid.errors import RealUIDError
from realuid.models import MatchingModel, NetworkConfig, build_network
from realuid.paths import LinearPath

torch.manual_seed(0)
small = NetworkConfig(channels=(8, 8), blocks=1, attention_at=())
model = MatchingModel(build_network(small, (1, 8, 8), 3), LinearPath()).eval()
bare = MatchingModel(build_network(small, (1, 8, 8), 0), LinearPath()).eval()
bad = 0
for name, labels in (
    ("a class out of range", torch.tensor([0, 1, 2, 3])),
    ("a negative class", torch.tensor([0, 1, 2, -1])),
    ("two labels for four samples", torch.tensor([0, 1])),
    ("a list", [0, 1, 2, 0]),
    ("floats", torch.tensor([0.0, 1.0, 2.0, 0.0])),
):
    try:
        realuid.sample(model, 4, labels=labels, steps=1)
        print(f"{name}: taken")
    except RealUIDError as error:
        print(f"{name}: {error}")
    except Exception as error:
        bad = 1
        print(f"{name}: {type(error).__name__}: {str(error)[:90]}")
try:  # changed from the report, which ended here: they are refused now
    realuid.sample(bare, 2, labels=torch.tensor([5, 7]), steps=1)
    bad = 1
    print("labels for an unconditional model: no effect, no word")
except RealUIDError as error:
    print(f"labels for an unconditional model: {error}")
sys.exit(bad)
