"""Run by torchrun in test_lora_text.py: adapters on a sharded base make four updates, in a run with checkpoints.

Arguments: the folder of the run, and whether it is to be "whole", is "cut" short by SIGKILL of one process in the midst
of its third update, or is the one that is "resumed".
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from text_networks import TEXT_NETWORKS
from torch.distributed.tensor import DTensor

from realuid.data import Dataset
from realuid.models import MatchingModel, example
from realuid.paths import LinearPath
from realuid.processes import leave
from realuid.training import DistillConfig
from realuid.training.accelerate import make_accelerator
from realuid.training.distill import DistillTask
from realuid.training.loop import Run


class Loop(Run):
    """A run whose network cannot be saved as a model: it ends with its last checkpoint."""

    def _finish(self) -> torch.nn.Module:
        return self.task.learner.module


torch.set_num_threads(1)
folder, kind = Path(sys.argv[1]), sys.argv[2]
how = {"updates": 4, "batch": 4, "fake_updates": 1, "save_every": 1, "device": "cpu", "ema": (0.9,)}
config = DistillConfig(**how, lora_rank=2, fake_start="teacher", shard=True)
accelerator = make_accelerator(config)
torch.manual_seed(0)
network = TEXT_NETWORKS[0]()
columns = dict(example(network.conditions, 16, torch.Generator().manual_seed(0)))
data = Dataset(torch.randn(16, *network.shape), columns=columns)
task = DistillTask(MatchingModel(network, LinearPath()), data, config, accelerator)
base = [p for p in task.teacher.network.base.network.parameters() if not p.requires_grad]
here = sum((p.to_local() if isinstance(p, DTensor) else p).numel() for p in base)
if kind == "cut":
    step = task.learner.step

    def fatal(number: int) -> dict[str, torch.Tensor]:
        if number == 2 and accelerator.process_index == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return step(number)

    task.learner.step = fatal
Loop(task, config, folder, accelerator).start(resume=kind == "resumed")
if accelerator.is_main_process:
    share = here / sum(p.numel() for p in base)
    torch.save({"world": dist.get_world_size(), "share": share}, folder / "about.pt")
del task
leave()
