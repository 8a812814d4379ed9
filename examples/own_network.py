"""Train a teacher with a network of your own, distil it, and compare both. A few seconds; raise UPDATES for quality.

python examples/own_network.py [FOLDER]
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor, nn

import realuid
from realuid.training import DistillConfig, TeacherConfig, train_teacher

UPDATES = 30


class TinyNet(nn.Module):
    """Any module will do that is called as network(x, time), or network(x, time, labels)."""

    def __init__(self, width: int = 32):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.out = nn.Linear(width, 2)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        return self.out(self.layers(torch.cat([x, time[:, None]], dim=1)))


def main(folder: Path) -> None:
    """Teacher, student, samples."""
    data = realuid.load_dataset("toy:moons")
    model = realuid.Teacher(TinyNet(), shape=(2,))
    teacher = train_teacher(model, data, TeacherConfig(updates=UPDATES, batch=256, lr=3e-3), folder / "teacher")
    settings = DistillConfig(updates=UPDATES, batch=256, generator_lr=1e-3, fake_lr=2e-3)
    student = realuid.distill(
        teacher,
        data,
        alpha=0.96,
        beta=0.98,
        out=folder / "student",
        config=settings,
        trust_teacher=True,  # so few updates make a teacher that is worse than a linear denoiser
    )
    for name, sampled in (("teacher", teacher), ("student", student)):
        points = realuid.sample(sampled, 1000)
        print(f"{name}: mean {points.mean(0).tolist()}, standard deviation {points.std(0).tolist()}")
    again = realuid.load_generator(folder / "student", network=TinyNet())  # weights are saved, code is not
    assert torch.equal(realuid.sample(again, 10), realuid.sample(student, 10))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/own-network"))
