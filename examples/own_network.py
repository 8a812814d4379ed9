"""Train a teacher with a network of your own, distil it, and compare both. A few seconds; raise UPDATES for quality.

python examples/own_network.py [FOLDER]
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor, nn

import realuid
from realuid.models import NETWORKS, Network
from realuid.paths import make_path
from realuid.training import DistillConfig, TeacherConfig, train_teacher

UPDATES = 30


class TinyNet(Network):
    """Any module will do: `forward(x, time, condition)`, its settings passed on, and its table entry for saving."""

    def __init__(self, width: int = 32):
        super().__init__({"width": width})
        self.shape = (2,)
        self.layers = nn.Sequential(nn.Linear(3, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.out = nn.Linear(width, 2)

    def forward(self, x: Tensor, time: Tensor, condition: realuid.Condition) -> Tensor:
        return self.out(self.layers(torch.cat([x, time[:, None].to(x) / 1000], dim=1)))


def main(folder: Path) -> None:
    """Teacher, student, samples."""
    NETWORKS["tiny"] = TinyNet
    data = realuid.load_dataset("toy:moons")
    model = realuid.MatchingModel(TinyNet(), make_path("linear"))
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


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/own-network"))
