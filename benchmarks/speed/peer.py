"""The authors' published training script as a worker: unmodified, stopped and timed between its updates.

    python -m benchmarks.speed.peer REPOSITORY CHECKPOINT BATCH
    python -m benchmarks.speed.peer make CHECKPOINT     # a teacher of the published architecture, random weights

`train_distil.py` is run as it is. Libraries that it imports but an update does not need get stand-ins: torchvision's
data set and transforms (ready random images, so decoding is not charged to it), torchdyn, clean-fid, POT; and tqdm's
`trange` is where it is made to wait and is timed. One block is one generator update and the five fake ones before it.
"""

from __future__ import annotations

import runpy
import sys
import tempfile
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import tqdm

from benchmarks.speed.worker import Turns

#: Steps of the script between two of its generator updates, that one included.
PERIOD = 6


class RandomImages(torch.utils.data.Dataset):
    """In place of CIFAR-10: float images in [-1, 1], already flipped and normalised."""

    def __init__(self, *_: Any, **__: Any):
        self.images = torch.rand(2048, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.images[index], index % 10


def _nothing(*_: Any, **__: Any) -> None:
    """For names that are imported but not used by an update."""


def module(name: str, **members: Any) -> ModuleType:
    """A module of that name with these members, as if it had been imported."""
    made = sys.modules[name] = ModuleType(name)
    made.__spec__ = ModuleSpec(name, None)
    vars(made).update(members)
    parent, _, child = name.rpartition(".")
    if parent in sys.modules:
        setattr(sys.modules[parent], child, made)
    return made


def stand_ins(turns: Turns) -> None:
    """Put everything in place that the script imports and an update does not need."""

    def trange(first: int, last: int, **_: Any) -> Any:
        return Bar(first, last)

    class Bar:
        def __init__(self, first: int, last: int):
            self.first, self.last = first, last

        def __enter__(self) -> Bar:
            return self

        def __exit__(self, *_: Any) -> None:
            return None

        def __iter__(self) -> Iterator[int]:
            for step in range(self.first, self.last):
                if step % PERIOD == 0:
                    if step > self.first:
                        turns.done()
                    if not turns.wait():
                        return
                yield step

    transforms = dict.fromkeys(("Compose", "ToTensor", "Normalize", "RandomHorizontalFlip", "ToPILImage"), _nothing)
    module("torchvision")
    module("torchvision.datasets", CIFAR10=RandomImages)
    module("torchvision.transforms", **transforms)
    module("torchvision.utils", make_grid=_nothing, save_image=_nothing)
    module("torchvision.io", read_image=_nothing)
    tqdm.trange = trange
    module("torchdyn")
    module("torchdyn.core", NeuralODE=_nothing)
    module("cleanfid", fid=None)


def make_checkpoint(path: str) -> None:
    """A teacher's checkpoint as their scripts read it, with random weights and none of them zero."""
    from torchcfm.models.unet.unet import UNetModelWrapper

    torch.manual_seed(0)
    network = UNetModelWrapper(
        dim=(3, 32, 32),
        num_res_blocks=2,
        num_channels=128,
        channel_mult=[1, 2, 2, 2],
        num_heads=4,
        num_head_channels=64,
        attention_resolutions="16",
    )
    for parameter in network.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.02)
    weights = network.state_dict()
    torch.save({"net_model": weights, "ema_models": {"0.999": weights}}, path)


def main(arguments: list[str]) -> None:
    """Run the script until there are no more turns."""
    module("ot")
    if arguments[0] == "make":
        return make_checkpoint(arguments[1])
    repository, checkpoint, batch = arguments
    turns = Turns()
    sys.path.insert(0, repository)
    stand_ins(turns)
    with tempfile.TemporaryDirectory() as folder:
        off = ["--fid_step", "0", "--save_image_step", "0", "--save_model_step", "0"]
        game = ["--alpha", "0.92", "--beta", "0.94", "--batch_size", batch]
        paths = ["--teacher_ckpt_path", checkpoint, "--output_dir", folder]
        sys.argv = ["train_distil.py", *game, *paths, *off]
        runpy.run_path(str(Path(repository) / "train_distil.py"), run_name="__main__")
    return None


if __name__ == "__main__":
    main(sys.argv[1:])
