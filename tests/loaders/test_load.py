"""The door: every format is recognised from the files, and what is ambiguous is an error that says what is needed."""

from __future__ import annotations

import shutil
import zipfile

import diffusers_folders as folders
import pytest
import torch
from conftest import small_teacher
from diffusers import DDPMScheduler

from realuid.cli.main import main
from realuid.errors import CheckpointError
from realuid.loaders import is_model, load_generator, load_model, load_teacher, recognise
from realuid.models import Generator, MatchingModel, save_pretrained

FILES = {
    "edm_ddpmpp_uncond.pkl": "edm",
    "torchcfm_unet_uncond_teacher.pt": "torchcfm",
    "realuid_uncond_distilled.pt": "torchcfm",
}


@pytest.mark.parametrize("name", FILES)
def test_files_are_recognised_whatever_their_names(name, shared, tmp_path):
    copy = shutil.copy(shared / "reference" / name, tmp_path / "something.bin")
    assert recognise(tmp_path / "something.bin") == FILES[name] and is_model(copy)


def test_folders_are_recognised(tmp_path):
    ours = save_pretrained(small_teacher(), tmp_path / "run" / "best")
    theirs = folders.save_ddpm(tmp_path / "ddpm", folders.unet(), DDPMScheduler())
    assert recognise(ours) == recognise(ours.parent) == "realuid"
    assert recognise(theirs) == "diffusers"
    shutil.copy(theirs / "model_index.json", ours)
    with pytest.raises(CheckpointError, match="ambiguous, it looks like realuid and like diffusers"):
        load_model(ours)


def test_data_is_no_model(tmp_path):
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        archive.writestr("dataset.json", "{}")
    (tmp_path / "images").mkdir()
    assert not is_model(tmp_path / "data.zip") and not is_model(tmp_path / "images")
    assert not is_model("toy:moons") and not is_model("hf:org/name") and is_model("org/name")
    with pytest.raises(CheckpointError, match="of no format that can be read"):
        load_model(tmp_path / "data.zip")


def test_a_pickle_does_not_tell_teacher_from_student(shared):
    path = shared / "reference" / "edm_ddpmpp_uncond.pkl"
    assert isinstance(load_teacher(path), MatchingModel)
    assert load_generator(path).t_init == 2.5
    with pytest.raises(CheckpointError, match=r"teacher \(EDM\) or a one-step generator \(SiD\).*kind"):
        load_model(path)
    with pytest.raises(CheckpointError, match="holds no network 'raw'"):
        load_teacher(path, key="raw")


def test_torch_files_tell(shared, tmp_path):
    reference = shared / "reference"
    assert isinstance(load_model(reference / "torchcfm_unet_cond_teacher.pt"), MatchingModel)
    assert load_model(reference / "realuid_uncond_distilled.pt").t_init == 1
    with pytest.raises(CheckpointError, match="is a student, not a teacher"):
        load_teacher(reference / "realuid_uncond_distilled.pt")
    with pytest.raises(CheckpointError, match="is a teacher, not a student"):
        load_generator(reference / "torchcfm_unet_uncond_teacher.pt")

    checkpoint = torch.load(reference / "torchcfm_unet_uncond_teacher.pt", weights_only=True)
    average = checkpoint["ema_models"]["0.999"]
    torch.save({**checkpoint, "ema_models": {"0.999": average, "0.9999": average}}, tmp_path / "two.pt")
    with pytest.raises(CheckpointError, match=r"several averages: pass key \(--key\), one of raw, 0\.999, 0\.9999"):
        load_teacher(tmp_path / "two.pt")
    assert load_teacher(tmp_path / "two.pt", key="0.9999").shape == (3, 32, 32)

    for content, says in (
        (average, "its weights stand alone"),
        ({"model": average, "epoch": 3}, "an entry 'model' as many trainers write it"),
        ({"state": torch.zeros(1)}, "it holds state"),
    ):
        torch.save(content, tmp_path / "other.pt")
        with pytest.raises(CheckpointError, match=says):
            load_teacher(tmp_path / "other.pt")


def test_what_cannot_be_chosen_is_refused(tmp_path):
    folder = save_pretrained(small_teacher(), tmp_path / "ours")
    with pytest.raises(CheckpointError, match="one set of weights"):
        load_teacher(folder, key="raw")
    with pytest.raises(CheckpointError, match="brings its own"):
        load_teacher(folder, network=torch.nn.Identity())


def test_hub_ids_are_downloaded(tmp_path, monkeypatch):
    folder = folders.save_ddpm(tmp_path / "snapshot", folders.unet(), DDPMScheduler())
    asked = []

    def download(name, revision):
        asked.append((name, revision))
        return folder

    monkeypatch.setattr("realuid.loaders.formats.snapshot", download)
    x, t = torch.randn(2, 3, 8, 8), torch.full((2,), 0.5)
    with torch.no_grad():
        assert torch.equal(load_teacher("google/ddpm")(x, t), load_teacher(folder)(x, t))
    load_teacher("google/ddpm@v1.0")
    assert asked == [("google/ddpm", None), ("google/ddpm", "v1.0")]


def test_without_a_network_the_hub_is_one_line(monkeypatch, capsys, tmp_path):
    def download(*_, **__):
        raise OSError("cannot reach it\nand much more")

    monkeypatch.setattr("realuid.loaders.hub.list_repo_files", download)
    monkeypatch.setattr("realuid.loaders.hub.snapshot_download", download)
    with pytest.raises(CheckpointError, match=r"model 'org/name' cannot be had .* \(cannot reach it\)"):
        load_teacher("org/name")
    assert main(["distill", "demo", "--teacher", "org/name", "--out", str(tmp_path / "run")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    with pytest.raises(CheckpointError, match="no model at '/org/name'"):
        load_teacher("/org/name")


def test_info_and_sample_read_every_format(shared, tmp_path, capsys):
    reference = shared / "reference"
    ddpm = folders.save_ddpm(tmp_path / "ddpm", folders.unet(), DDPMScheduler())
    for path, options, says in (
        (reference / "torchcfm_unet_uncond_teacher.pt", (), "torchcfm"),
        (reference / "edm_ddpmpp_uncond.pkl", ("--kind", "generator"), "EDM's layout"),
        (ddpm, (), "a folder of diffusers"),
    ):
        assert main(["info", str(path), *options]) == 0
        printed = capsys.readouterr().out
        assert says in printed and "sha256" in printed and "parameters" in printed
        out = tmp_path / "grid.png"
        steps = () if "generator" in options else ("--steps", "1")
        assert main(["sample", str(path), *options, "--count", "1", *steps, "--out", str(out)]) == 0
        assert out.is_file()
        out.unlink()
    assert main(["evaluate", str(ddpm)]) == 2
    assert "pass --data.source" in capsys.readouterr().err


def test_generators_are_told_apart(tmp_path):
    folder = save_pretrained(Generator(small_teacher()), tmp_path / "g")
    assert isinstance(load_model(folder), Generator)
    with pytest.raises(CheckpointError, match="is a student, not a teacher"):
        load_teacher(folder)
