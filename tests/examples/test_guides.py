"""What docs/guides/teachers.md shows runs as it stands: its Python in one go, its commands one by one."""

from __future__ import annotations

import re
import shlex
from argparse import Namespace
from pathlib import Path

import diffusers_folders as folders
import pytest
import torch
from diffusers import DDPMScheduler
from torch import nn

import realuid
from realuid.cli.main import main

GUIDE = (Path(__file__).parents[2] / "docs" / "guides" / "teachers.md").read_text()
SETTINGS = realuid.DistillConfig(updates=1, batch=4, fake_updates=1, device="cpu")


class Flat(nn.Module):
    """A network of a user's own."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(65, 64)

    def forward(self, x, time):
        return self.layer(torch.cat([x.flatten(1), time[:, None]], 1)).reshape(x.shape)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that the guide speaks of."""
    monkeypatch.chdir(tmp_path)
    folders.save_ddpm(tmp_path / "my-ddpm", folders.unet(1), DDPMScheduler())
    return tmp_path


def test_python(here, monkeypatch, capsys):
    monkeypatch.setattr("realuid.api.require_sound", lambda model, data: None)  # these networks learnt nothing
    torch.save({"model": Flat().state_dict(), "args": Namespace(lr=1e-4), "epoch": 3}, here / "flow-matching.pth")
    names = {"network": Flat(), "build_network": Flat, "settings": SETTINGS}
    blocks = re.findall(r"```python\n(.*?)```", GUIDE, re.S)
    for block in blocks:
        exec(compile(block, "teachers.md", "exec"), names)
    assert len(blocks) == 6 and names["images"].shape == (16, 1, 8, 8)
    # the function of the guide is the best linear denoiser of unit Gaussians, which digits are not far from
    assert "times that of the best linear denoiser" in capsys.readouterr().out
    assert names["check"].best.reading.prediction == "velocity"


def commands() -> list[str]:
    return re.findall(r"^    (realuid .*)$", GUIDE, re.M)


def test_commands(here, capsys, shared):
    (here / "torchcfm.pt").write_bytes((shared / "reference" / "torchcfm_unet_uncond_teacher.pt").read_bytes())
    assert len(commands()) == 7
    for command in commands():
        code = main(shlex.split(command)[1:])
        said = capsys.readouterr()
        if "check-teacher" in command or "distill" in command:
            assert code == 2 and "does not denoise" in said.err
        else:
            assert code == 0, said.err
    written = {"teacher.png", "check-teacher.png", "my-folder", "mine", "back.pt"}
    assert written <= {path.name for path in here.iterdir()}
    there, back = (torch.load(here / name, weights_only=True) for name in ("torchcfm.pt", "back.pt"))
    raw, again = there["net_model"], back["net_model"]
    assert raw.keys() == again.keys() and all(torch.equal(raw[name], again[name]) for name in raw)
