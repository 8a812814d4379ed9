"""Run by torchrun (and alone) in test_processes.py: runs with everything that is written on the way.

Arguments: runs to make, one after another, each as KIND:FOLDER:UPDATES and :shard, :resume where wanted.
"""

from __future__ import annotations

import sys

import torch
from torch import Tensor, nn

from realuid.data import load_dataset
from realuid.metrics import Evaluator, FeatureExtractor
from realuid.models import MatchingModel, NetworkConfig, OwnNetwork, build_network
from realuid.paths import make_path
from realuid.processes import leave
from realuid.training import DistillConfig, TeacherConfig, distill_teacher, train_teacher


class Pixels(FeatureExtractor):
    num_features, key = 3, "three-pixels"

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)[:, 10:13].float()


class Own(nn.Module):
    """A user's module that uses weights outside of the modules they belong to, and that has a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Conv2d(1, 5, 3, bias=False), nn.Conv2d(5, 1, 3, padding=1)])
        self.gain = nn.Parameter(torch.ones(1))
        self.register_buffer("shift", torch.full((1,), 0.25))

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        h = nn.functional.conv2d(x, self.layers[0].weight, padding=1) * (self.shift + time.view(-1, 1, 1, 1))
        return self.layers[1](torch.tanh(h)) * self.gain


def run(kind: str, folder: str, updates: str, *words: str) -> None:
    torch.manual_seed(0)
    data = load_dataset("digits")
    settings = {"updates": int(updates), "batch": 16, "device": "cpu", "shard": "shard" in words, "ema": (0.9, 0.5)}
    settings |= {"save_every": 2, "evaluate_every": 2, "sample_every": 2, "quick_samples": 600, "log_every": 1}
    evaluator, resume = Evaluator(data, Pixels()), "resume" in words
    if kind == "student":
        network = build_network(NetworkConfig(channels=(8, 16), blocks=1, attention_at=()), (1, 8, 8))
        teacher, config = MatchingModel(network, make_path("linear")), DistillConfig(fake_updates=1, **settings)
        distill_teacher(teacher, data, config, folder, evaluator=evaluator, resume=resume)
    else:
        model, config = (
            MatchingModel(OwnNetwork(Own(), (1, 8, 8)), make_path("linear")),
            TeacherConfig(**settings, steps=2),
        )
        trained = train_teacher(model, data, config, folder, evaluator=evaluator, resume=resume)
        assert isinstance(trained.network, OwnNetwork) and trained.network.function is not model.network.function


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    for words in sys.argv[1:]:
        run(*words.split(":"))
    leave()
