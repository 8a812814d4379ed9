"""Run by torchrun (and alone) in test_processes.py: one distillation and one teacher step, weights to a file."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from realuid.data import load_dataset
from realuid.models import MatchingModel, NetworkConfig, build_network
from realuid.paths import make_path
from realuid.training import DistillConfig, DistillTask, TeacherConfig, TeacherTask
from realuid.training.accelerate import make_accelerator

torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)
torch.manual_seed(0)
network = build_network(NetworkConfig(channels=(8, 16), blocks=1, attention_at=()), (1, 8, 8))
teacher = MatchingModel(network, make_path("linear"))
data = load_dataset("digits")
config = DistillConfig(updates=4, batch=16, fake_updates=2, alpha=0.92, beta=0.94, real_share=0.2, device="cpu")
accelerator = make_accelerator(config)
task = DistillTask(teacher, data, config, accelerator)
for i in range(2):
    task.update(i)
gan_config = DistillConfig(updates=4, batch=16, fake_updates=1, lambda_g=0.5, device="cpu", micro_batch=3)
gan = DistillTask(teacher, data, gan_config, make_accelerator(gan_config))
for i in range(2):
    gan.update(i)
teacher_config = TeacherConfig(updates=4, batch=16, device="cpu", micro_batch=3)
teacher_task = TeacherTask(teacher, data, teacher_config, make_accelerator(teacher_config))
for i in range(2):
    teacher_task.update(i)
if accelerator.is_main_process:
    state = {f"generator.{k}": v for k, v in task.generator.state_dict().items()}
    state |= {f"fake.{k}": v for k, v in task.fake.state_dict().items()}
    state |= {f"gan.{k}": v for k, v in gan.generator.state_dict().items()}
    state |= {f"discriminator.{k}": v for k, v in gan.opponent.module.state_dict().items()}
    state |= {f"teacher.{k}": v for k, v in teacher.state_dict().items()}
    torch.save({"world": accelerator.num_processes, "state": state}, Path(sys.argv[1]))
accelerator.wait_for_everyone()  # a process that leaves while the other still writes may abort in gloo
accelerator.end_training()
