"""FD of a class-conditional model is measured with every class asked for equally often, whatever the data's
frequencies,
and with classes that the data does not have. The same holds for quick FDs, which choose best/.

A perfect conditional sampler (it returns real digits of the class asked for) is compared (a) with data in which two
classes make up 88%, (b) with data of 5 classes where the network has 6 embeddings, the last one for "no label" (as
networks of diffusers are trained for guidance). Right: classes are asked for as the data has them; FD stays near
that of real
against real. Exit code 1 while the fault is there.
"""

import dataclasses
import os
import sys
import tempfile

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["REALUID_CACHE"] = tempfile.mkdtemp()
import torch
from torch import nn

import realuid
from realuid.metrics import features
from realuid.recipes import EvaluateConfig
from realuid.recipes.measure import make_evaluator, measure

features.train_classifier.__defaults__ = (0, 300, 64)  # shorter, to be quick
digits = realuid.load_dataset("digits")


class Perfect(nn.Module):
    """Called at one fixed time: answers with a random real image of each label (as a velocity from x_t)."""

    def __init__(self, pool):
        super().__init__()
        self.pool, self.unused = pool, nn.Parameter(torch.zeros(1))
        self.random = torch.Generator().manual_seed(0)

    def forward(self, x, time, labels):
        images = [self.pool[int(y)] for y in labels]
        x_0 = torch.stack([p[torch.randint(len(p), (1,), generator=self.random)[0]] for p in images])
        return (x - x_0) / time.view(-1, 1, 1, 1)


def fds(data, embeddings):
    real = {c: data.values[data.labels == c].float() / 127.5 - 1 for c in range(data.num_classes)}
    other = torch.rand(10, 1, 8, 8, generator=torch.Generator().manual_seed(1)) * 2 - 1  # a class that was never learnt
    pool = [real.get(c, other) for c in range(embeddings)]
    student = realuid.Generator(realuid.Teacher(Perfect(pool), (1, 8, 8), num_classes=embeddings), t_init=1.0)
    config = EvaluateConfig(samples=1000, seeds=1)
    evaluator = make_evaluator(data, config)
    reported = measure(student, evaluator, config, full=False).fd[0]
    labels = data.labels[torch.randint(len(data), (1000,), generator=torch.Generator().manual_seed(2))]
    fair = evaluator.score(realuid.sample(student, 1000, labels=labels).split(500), full=False).fd
    return reported, fair


keep = torch.cat([(digits.labels == c).nonzero().flatten()[: 170 if c < 2 else 6] for c in range(10)])
uneven = digits.subset(keep)
five = dataclasses.replace(digits.subset((digits.labels < 5).nonzero().flatten()), classes=tuple("01234"))
bad = 0
for name, data, embeddings in (("uneven classes", uneven, 10), ("one embedding more than classes", five, 6)):
    reported, fair = fds(data, embeddings)
    print(f"{name}: measured FD {reported:.3f}; asked for classes as the data has them: {fair:.3f}")
    bad |= reported > 3 * fair
sys.exit(int(bad))
