"""Run by torchrun (and alone) in test_processes.py: some tasks make two updates; weights and figures to a file.

With a second argument, what processes hold is split over them.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from runs_in_two import Own
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.utils._python_dispatch import TorchDispatchMode

from realuid.data import load_dataset
from realuid.models import DiT, MatchingModel, Network, NetworkConfig, OwnNetwork, build_network
from realuid.models.networks.song_unet import SongUNet
from realuid.paths import make_path
from realuid.processes import leave
from realuid.training import DistillConfig, DistillTask, TeacherConfig, TeacherTask
from realuid.training.accelerate import make_accelerator
from realuid.training.sharding import gathered
from realuid.training.task import Task

torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)
torch.manual_seed(0)
shard = len(sys.argv) > 2
network = build_network(NetworkConfig(channels=(8, 16), blocks=1, attention_at=()), (1, 8, 8))
teacher = MatchingModel(network, make_path("linear"))
data = load_dataset("digits")
common = {"updates": 4, "batch": 16, "device": "cpu", "shard": shard, "ema": (0.9, 0.5)}
config = DistillConfig(fake_updates=2, alpha=0.92, beta=0.94, real_share=0.2, **common)
gan_config = DistillConfig(fake_updates=1, lambda_g=0.5, micro_batch=3, **common)
teacher_config = TeacherConfig(micro_batch=3, clip=0.1, **common)
accelerator = make_accelerator(config)


class Exchanges(TorchDispatchMode):
    """Counts how often gradients are summed and split again."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += "reduce_scatter" in str(func)
        return func(*args, **(kwargs or {}))


def small(network: Network, **settings: object) -> DistillTask:
    config = DistillConfig(fake_updates=1, **common, **settings)
    return DistillTask(MatchingModel(network, make_path("linear")), data, config, accelerator)


def held(tensors: list[Tensor]) -> tuple[int, int]:
    """Elements that the process with the most of them holds, and how many there are."""
    local = [(t.to_local() if isinstance(t, DTensor) else t).untyped_storage() for t in tensors]
    most = torch.tensor(sum({s.data_ptr(): s.nbytes() for s in local}.values()) // tensors[0].element_size())
    if accelerator.num_processes > 1:
        dist.all_reduce(most, dist.ReduceOp.MAX)
    return int(most), sum(t.numel() for t in tensors)


def account(task: Task) -> dict[str, tuple[int, int]]:
    """The same of all a task keeps between updates."""
    kinds = {
        "weights": [p for player in task.players for p in player.module.parameters()],
        "gradients": [p.grad for p in task.learner.parameters if p.grad is not None],
        "adam": [v for p in task.players for s in p.optimizer.state.values() for v in s.values() if v.dim()],
        "averages": [a for average in task.ema.averages.values() for a in average],
    }
    if isinstance(task, DistillTask):
        kinds["teacher"] = list(task.teacher.parameters())
    return {name: held([t.detach() for t in tensors]) for name, tensors in kinds.items()}


attentive = NetworkConfig(channels=(8, 16), blocks=1, attention_at=(4,), head_channels=8)
dit = {"num_attention_heads": 2, "attention_head_dim": 4, "in_channels": 1, "num_layers": 2, "sample_size": 8}
dit |= {"patch_size": 4, "num_embeds_ada_norm": 10, "norm_num_groups": 4}
lean = {"activation_checkpointing": True, "channels_last": True}
song = {"model_channels": 8, "channel_mult": [1, 2], "num_blocks": 1, "attn_resolutions": [4]}
tasks = {
    "game": lambda: DistillTask(teacher, data, config, accelerator),
    "gan": lambda: DistillTask(teacher, data, gan_config, accelerator),
    "checkpointed": lambda: small(
        build_network(attentive, (1, 8, 8)), activation_checkpointing=True, channels_last=True
    ),
    "song": lambda: small(SongUNet(8, 1, 1, **song), activation_checkpointing=True),
    "dit": lambda: small(DiT(**dit)),
    "own": lambda: small(OwnNetwork(Own(), (1, 8, 8)), fake_start="teacher"),
    "calls": lambda: small(network, calls=4, fake_sees_call=True, micro_batch=3),
    "teacher": lambda: TeacherTask(teacher, data, teacher_config, accelerator),
}
state, accounts, values, exchanges = {}, {}, {}, {}
for name, make in tasks.items():
    torch.manual_seed(0)
    task = make()
    for i in range(2):
        with Exchanges() as exchanged:
            last = task.update(i)
        task.ema.update()
    exchanges[name] = exchanged.count
    values[name] = {k: v.item() for k, v in last.items() if k.endswith(("grad_norm", "clipped"))}
    accounts[name] = account(task)
    parts = {p.name: p.module.state_dict() for p in task.players}
    parts["ema"] = task.ema.state_dict()
    state |= {f"{name}.{part}.{k}": v for part, tensors in parts.items() for k, v in gathered(tensors).items()}
    with task.ema.applied(0.5) as model:
        state |= {f"{name}.applied.{k}": v.clone() for k, v in model.state_dict().items()}
own = Own()
if not shard:
    own.shift += accelerator.process_index  # copies are those of process 0, buffers included
task = TeacherTask(MatchingModel(OwnNetwork(own, (1, 8, 8)), make_path("linear")), data, teacher_config, accelerator)
sent = accelerator.num_processes > 1 and not shard
assert getattr(task.learner.call, "broadcast_buffers", None) == (False if sent else None)
task.update(0)
state |= {f"buffers.{k}": v for k, v in gathered(task.model.state_dict()).items()}
if accelerator.is_main_process:
    facts = {"accounts": accounts, "values": values, "exchanges": exchanges}
    torch.save({"world": accelerator.num_processes, "state": state, **facts}, Path(sys.argv[1]))
del task, last  # whose wrappers hold the group of processes
leave()
