"""realuid convert: what is written computes the same, to the last bit."""

from __future__ import annotations

import diffusers_folders as folders
import pytest
import torch
from diffusers import DDPMScheduler

from realuid.cli.main import main
from realuid.loaders import load_model


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("torchcfm_unet_cond_teacher.pt", ()),
        ("realuid_uncond_distilled.pt", ()),
        ("vp_ddpmpp_cond.pkl", ("--kind", "teacher")),
        ("edm_adm_cond.pkl", ("--kind", "generator")),
    ],
)
def test_files_become_folders(name, options, shared, tmp_path):
    source = shared / "reference" / name
    assert main(["convert", str(source), str(tmp_path / "out"), *options]) == 0
    before, after = load_model(source, kind=options[1] if options else None), load_model(tmp_path / "out")
    assert type(before) is type(after)
    ours, theirs = after.state_dict(), before.state_dict()
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)
    assert main(["convert", str(source), str(tmp_path / "out"), *options]) == 2


@pytest.mark.parametrize(
    ("name", "averages"),
    [("torchcfm_unet_uncond_teacher.pt", "ema_models"), ("realuid_uncond_distilled.pt", "ema_gens")],
)
def test_there_and_back_is_bit_exact(name, averages, shared, tmp_path):
    source = shared / "reference" / name
    assert main(["convert", str(source), str(tmp_path / "ours")]) == 0
    assert main(["convert", str(tmp_path / "ours"), str(tmp_path / "back.pt"), "--to", "torchcfm"]) == 0
    there, back = (torch.load(p, weights_only=True)[averages]["0.999"] for p in (source, tmp_path / "back.pt"))
    assert there.keys() == back.keys() and all(torch.equal(there[key], back[key]) for key in there)


def test_what_has_no_place_there_is_refused(tmp_path, capsys):
    folder = folders.save_ddpm(tmp_path / "ddpm", folders.unet(), DDPMScheduler())
    assert main(["convert", str(folder), str(tmp_path / "out.pt"), "--to", "torchcfm"]) == 2
    assert "the layout is for velocities" in capsys.readouterr().err
    assert not (tmp_path / "out.pt").exists()
