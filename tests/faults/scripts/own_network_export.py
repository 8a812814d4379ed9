"""A student whose network is the user's own module cannot be exported to ONNX, torch.export or diffusers at all.

The bare network passes torch.export for any batch size; the library's own check of the answer's shape (it compares
with
len(x), a plain int) ties the traced program to the example's batch, and the error blames the user's network.
Right: the export works, as it does when that check is left out. Exit code 1 while the fault is there.
"""

import os
import sys
import tempfile

os.environ.setdefault("OMP_NUM_THREADS", "1")
import torch
from torch import nn

import realuid


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.t, self.b = nn.Conv2d(1, 8, 3, padding=1), nn.Linear(1, 8), nn.Conv2d(8, 1, 3, padding=1)

    def forward(self, x, time):
        return self.b(torch.relu(self.a(x) + self.t(time.unsqueeze(1)).unsqueeze(-1).unsqueeze(-1)))


torch.manual_seed(0)
net = Net().eval()
batch = torch.export.Dim("batch")
program = torch.export.export(net, (torch.randn(2, 1, 8, 8), torch.rand(2)), dynamic_shapes=({0: batch}, {0: batch}))
assert program.module()(torch.randn(5, 1, 8, 8), torch.rand(5)).shape == (5, 1, 8, 8)
print("torch.export of the bare network, any batch: works")
student = realuid.Generator(realuid.Teacher(net, shape=(1, 8, 8)), t_init=0.7)
bad = 0
with tempfile.TemporaryDirectory() as folder:
    for to, name in (("torch", "s.pt2"), ("onnx", "s.onnx"), ("diffusers", "s")):
        try:
            realuid.export(student, os.path.join(folder, name), to=to)
            print(f"realuid.export to {to}: works")
        except Exception as error:
            bad = 1
            print(f"realuid.export to {to}: {type(error).__name__}: {str(error)[:180]}")
sys.exit(bad)
