"""Run by torchrun (and alone) in test_lora_text.py: adapters of text-conditioned networks make two updates.

With a second argument, the weights of the shared network are split over the processes.
"""

from __future__ import annotations

import copy
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
from realuid.training import DistillConfig, DistillTask
from realuid.training.accelerate import make_accelerator

torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)
config = DistillConfig(
    updates=4,
    batch=8,
    fake_updates=2,
    alpha=0.92,
    beta=0.94,
    device="cpu",
    ema=(0.9,),
    lora_rank=2,
    fake_start="teacher",
    activation_checkpointing=True,
    micro_batch=2,
    shard=len(sys.argv) > 2,
)
accelerator = make_accelerator(config)
state, shares = {}, {}
for make in TEXT_NETWORKS:
    torch.manual_seed(0)
    network = make()
    columns = dict(example(network.conditions, 64, torch.Generator().manual_seed(0)))
    data = Dataset(torch.randn(64, *network.shape).float(), columns=columns)
    task = DistillTask(MatchingModel(network, LinearPath()), data, config, accelerator)
    for update in range(2):
        task.update(update)
        task.ema.update()
    for player in task.players:
        state |= {f"{make.__name__}.{player.name}.{n}": v for n, v in player.module.state_dict().items()}
    state |= {f"{make.__name__}.ema.{n}": v for n, v in task.ema.state_dict().items()}
    base = [p for p in task.teacher.network.base.network.parameters() if not p.requires_grad]
    here = sum((p.to_local() if isinstance(p, DTensor) else p).numel() for p in base)
    shares[make.__name__] = here / sum(p.numel() for p in base)
    with task.ema.applied(0.9) as model:
        state |= {f"{make.__name__}.whole.{n}": v.clone() for n, v in copy.deepcopy(model).state_dict().items()}
world = dist.get_world_size() if dist.is_initialized() else 1
if accelerator.is_main_process:
    torch.save({"world": world, "state": state, "shares": shares}, Path(sys.argv[1]))
del task
leave()
