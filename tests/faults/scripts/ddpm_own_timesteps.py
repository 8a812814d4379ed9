"""`Teacher(network, path="ddpm")` never tells the network the steps 0..999 that DDPM networks count: it is told t in
(0, 1],
and with time_scale=1000 ("1000 for a network that counts steps") 1..1000, one too many.

A network with a table of 1000 embeddings ends in an IndexError at the last step, others are asked one step off. The
path's
own default, which MatchingModel takes, is 'steps' (0..999). Right: Teacher takes it, too. Exit code 1 while the
fault is there.
"""

import sys

import torch
from torch import nn

import realuid

told = []


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.c = nn.Embedding(1000, 64), nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, x, time):
        told.append(time.clone())
        return self.c(x) + self.table(time.round().long()).view(-1, 1, 8, 8)


steps, bad = torch.tensor([1, 500, 1000]) / 1000, 0
for settings in ({}, {"time_scale": 1000}):
    try:
        realuid.Teacher(Net(), (1, 8, 8), path="ddpm", **settings)(torch.zeros(3, 1, 8, 8), steps)
        said = ""
    except IndexError as error:
        said = f"; IndexError: {error}"
    print(f"{settings}: at steps 0, 499, 999 the network is told {[round(v, 4) for v in told[-1].tolist()]}{said}")
    bad |= not torch.allclose(told[-1], torch.tensor([0.0, 499.0, 999.0]), atol=1e-3)
sys.exit(bool(bad))
