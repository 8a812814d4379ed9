"""What a user brings: folders of images, a model of diffusers and a network, trained a little on digits."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path

import diffusers_folders
import torch
from diffusers import DDPMScheduler, UNet2DModel
from torch import Tensor, nn
from torch.nn.functional import interpolate

import realuid
from realuid.data import Dataset, to_float
from realuid.data.writers import write_samples
from realuid.training import TeacherConfig, train_teacher

PROJECT = """
import torch
from user_files import Velocity


def build_network():
    return Velocity()


network = build_network()
network.load_state_dict(torch.load("flow-matching.pth", weights_only=False)["model"])


class TimeFirst(torch.nn.Module):
    def forward(self, time, x):
        return network(x, time)


torchcfm_network = TimeFirst()
"""


class Velocity(nn.Module):
    """A network of a user's own: its time 0 is noise, as in torchcfm."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(65, 256), nn.SiLU(), nn.Linear(256, 64))

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        return self.layers(torch.cat([x.flatten(1), time[:, None]], 1)).reshape(x.shape)


def write_files(folder: Path, digits: Dataset, shared: Path) -> None:
    """Images, models and code in a folder, under the names that README and the guides use."""
    x = to_float(digits.values)
    write_samples([x[:400]], folder / "my-images")
    write_samples([x[:40]], folder / "degraded")
    write_samples([x[:100]], folder / "targets")
    write_samples([x[:100, :, ::2, ::2]], folder / "inputs")
    write_samples([interpolate(x[:70], (40, 24))], folder / "photos")
    (folder / "torchcfm.pt").write_bytes((shared / "reference" / "torchcfm_unet_uncond_teacher.pt").read_bytes())
    write_samples([interpolate(x[:400], (28, 28))], folder / "mnist.zip", digits.labels[:400])
    _write_ddpm(folder / "my-ddpm", digits)
    _write_network(folder, x)
    sys.modules.pop("my_project", None)


def _write_ddpm(folder: Path, digits: Dataset) -> None:
    diffusers_folders.save_ddpm(folder, diffusers_folders.unet(1), DDPMScheduler())
    model = realuid.load_teacher(folder)
    settings, run = TeacherConfig(updates=80, batch=64, lr=2e-3, warmup=5), folder.parent / "training"
    trained = train_teacher(model, digits, settings, run)
    (network,) = (part for part in trained.modules() if isinstance(part, UNet2DModel))
    diffusers_folders.save_ddpm(folder, network, DDPMScheduler())


def _write_network(folder: Path, x: Tensor) -> None:
    torch.manual_seed(0)
    network = Velocity()
    optimiser = torch.optim.Adam(network.parameters(), 2e-3)
    for _ in range(400):
        data, time = x[torch.randint(len(x), (128,))], torch.rand(128)
        noise, t = torch.randn_like(data), time[:, None, None, None]
        loss = (network((1 - t) * noise + t * data, time) - (data - noise)).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    torch.save({"model": network.state_dict(), "args": Namespace(lr=2e-3), "epoch": 3}, folder / "flow-matching.pth")
    (folder / "my_project.py").write_text(PROJECT)
