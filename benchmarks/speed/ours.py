"""Our distillation as a worker, on the authors' network and at their settings, with levers to pull.

    python -m benchmarks.speed.ours CHECKPOINT SETTINGS

One block is what `benchmarks.speed.peer` does in one: five fake updates and the generator's. SETTINGS is JSON of
`DistillConfig`; `channels` and `side` in it ask for a network of that size with random weights instead of CHECKPOINT's.
"""

from __future__ import annotations

import json
import sys
import time
from itertools import count
from typing import Any

import torch

from benchmarks.speed.worker import serve
from realuid.data import Dataset
from realuid.devices import tune_process
from realuid.errors import NonFiniteError
from realuid.loaders.torchcfm import load_torchcfm
from realuid.models import MatchingModel, NetworkConfig, build_network
from realuid.paths import make_path
from realuid.training import DistillConfig, DistillTask
from realuid.training.accelerate import make_accelerator
from realuid.training.log import Means, Throughput

#: The authors' settings for CIFAR-10.
GAME: dict[str, Any] = {
    "alpha": 0.92,
    "beta": 0.94,
    "t_init": 1.0,
    "fake_updates": 5,
    "flip": True,
    "warmup": 500,
    "ema": (0.999, 0.9996, 0.9999),
}


def random_data(side: int) -> Dataset:
    """Images of noise, as many as the peer's."""
    values = torch.randint(0, 256, (2048, 3, side, side), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return Dataset(values, name="noise")


def teacher_of(checkpoint: str, channels: list[int] | None, side: int) -> MatchingModel:
    """The checkpoint's network, or one with random weights."""
    if channels is None:
        return load_torchcfm(checkpoint)
    torch.manual_seed(0)
    network = build_network(NetworkConfig(channels=tuple(channels)), (3, side, side))
    return MatchingModel(network, make_path("linear"))


class Stopwatch:
    """Adds up the processor time spent in networks: their outermost forward calls, and all backward passes.

    Args:
        models: whose forward calls count.
    """

    def __init__(self, *models: MatchingModel):
        self.seconds, self._depth, self._start = 0.0, 0, 0.0
        for model in models:
            model.register_forward_pre_hook(self.begin)
            model.register_forward_hook(self.end)
        backward = torch.autograd.backward

        def watched(*arguments: Any, **more: Any) -> None:
            self.begin()
            backward(*arguments, **more)
            self.end()

        torch.autograd.backward = watched

    def begin(self, *_: Any) -> None:
        """Of a forward call or a backward pass."""
        if self._depth == 0:
            self._start = time.process_time()
        self._depth += 1

    def end(self, *_: Any) -> None:
        """Of the same."""
        self._depth -= 1
        if self._depth == 0:
            self.seconds += time.process_time() - self._start

    def read(self) -> float:
        """Seconds since the last reading."""
        seconds, self.seconds = self.seconds, 0.0
        return seconds


def main(arguments: list[str]) -> None:
    """Serve blocks."""
    checkpoint, settings = arguments[0], json.loads(arguments[1])
    channels, side = settings.pop("channels", None), settings.pop("side", 32)
    config = DistillConfig(**{**GAME, "updates": 10**6, **settings})
    tune_process()
    accelerator = make_accelerator(config)
    task = DistillTask(teacher_of(checkpoint, channels, side), random_data(side), config, accelerator)
    means, throughput, numbers, on_cpu = Means(), Throughput(), count(), accelerator.device.type == "cpu"
    # kernels of an accelerator run while the processor goes on: its time says nothing about them
    watch = Stopwatch(task.teacher, task.generator.model, task.fake) if on_cpu else None

    def block() -> dict[str, Any]:
        """An update, and what the loop of a run does between two of them."""
        values = task.update(next(numbers))
        task.ema.update()
        means.add(values)
        throughput.images += task.images_per_update
        if on_cpu and not all(torch.isfinite(value).all() for value in values.values()):
            raise NonFiniteError(f"an update of the benchmark is not finite: {values}")
        return {
            "networks": watch.read() if watch else None,
            "execution": task.execution.to_dict(),
            "parts": {player.name: player.accumulation_steps for player in task.players},
        }

    serve(block)


if __name__ == "__main__":
    main(sys.argv[1:])
