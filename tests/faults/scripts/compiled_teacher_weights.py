"""A student of a teacher that was wrapped by torch.compile or DataParallel is saved under '_orig_mod.' / 'module.',
and cannot be
loaded into the network itself: "weights are of another model". Nor a plain one into a compiled network.

The reader of torchcfm's files strips these prefixes. Right: the same here. Exit code 1 while the fault is there.
"""

import os
import sys
import tempfile

os.environ.setdefault("OMP_NUM_THREADS", "1")
import torch
from torch import nn

import realuid
from realuid import DistillConfig
from realuid.errors import RealUIDError


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.c, self.t = nn.Conv2d(1, 1, 3, padding=1), nn.Linear(1, 1)

    def forward(self, x, time):
        return self.c(x) + self.t(time[:, None])[:, :, None, None]


wraps = {
    "plain": lambda n: n,
    "torch.compile": lambda n: torch.compile(n, backend="eager"),
    "DataParallel": nn.DataParallel,
}
config = DistillConfig(updates=1, batch=4, fake_updates=1, sample_every=0, evaluate_every=0)
root, bad = tempfile.mkdtemp(), 0
for name, wrap in wraps.items():
    out = os.path.join(root, name)
    realuid.distill(realuid.Teacher(wrap(Net()), (1, 8, 8)), "digits", out=out, config=config, trust_teacher=True)
    for other in ("plain", "torch.compile"):
        try:
            realuid.load_generator(out, network=wraps[other](Net()))
            print(f"student of a {name} teacher into a {other} network: loads")
        except RealUIDError as error:
            bad = 1
            print(f"student of a {name} teacher into a {other} network: {str(error)[-150:]}")
sys.exit(bad)
