"""Files that anybody may have made: one line instead of a traceback, a hang, a crash or all of the memory."""

from __future__ import annotations

import json
import os
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import small_teacher
from diffusers import DDIMScheduler, DDPMScheduler
from diffusers_folders import unet
from torch import Tensor

import realuid as library
from realuid.data import Dataset
from realuid.errors import CheckpointError, ConfigError, RealUIDError
from realuid.loaders.schedulers import read_scheduler
from realuid.models import DiT, Generator, MatchingModel, save_pretrained
from realuid.models.saving.torch_file import read_torch_file
from realuid.paths import make_path


def edit(folder: Path, change: Callable[[dict[str, Any]], object], name: str = "config.json") -> Path:
    """The folder with a JSON file changed, and without checksums."""
    config = json.loads((folder / name).read_text())
    change(config)
    (folder / name).write_text(json.dumps(config))
    (folder / "checksums.json").unlink(missing_ok=True)
    return folder


# -- l02: errors of files that nobody foresaw ----------------------------------------------------------------------


def lying(tmp_path: Path) -> dict[str, tuple]:
    """Command lines for damaged and lying files."""
    from PIL import Image

    Image.new("L", (8, 8), 7).save(tmp_path / "a.png")
    png = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").unlink()
    zips = {
        "dot": {".": png, "a.png": png},
        "label": {"a.png": png, "dataset.json": b'{"labels": [["a.png", 100000000000000000000]]}'},
        "labels nested": {"a.png": png, "dataset.json": b"[" * 200_000},
    }
    for name, entries in zips.items():
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w") as archive:
            for entry, content in entries.items():
                archive.writestr(entry, content)
    damaged = bytearray((tmp_path / "dot.zip").read_bytes())
    damaged[damaged.find(b"PK\x01\x02") + 2] ^= 0xFF
    (tmp_path / "directory.zip").write_bytes(damaged)
    model = lambda name, **about: save_pretrained(Generator(small_teacher()), tmp_path / name, **about)  # noqa: E731
    sums = model("sums")
    (sums / "checksums.json").write_text("[[1, 2]]")
    null = edit(save_pretrained(small_teacher(num_classes=3), tmp_path / "null"), lambda c: c.update(null_class="x"))
    (tmp_path / "index").mkdir()
    (tmp_path / "index" / "model_index.json").write_text("[" * 200_000)
    (tmp_path / "pipe").mkdir()
    os.mkfifo(tmp_path / "pipe" / "model_index.json")
    out = tmp_path / "out.zip"
    return {
        "an entry called .": ("info", tmp_path / "dot.zip"),
        "a label of 10^20": ("info", tmp_path / "label.zip"),
        "nested labels": ("info", tmp_path / "labels nested.zip"),
        "a damaged directory": ("info", tmp_path / "directory.zip"),
        "checksums that are a list": ("info", sums),
        "a null class that is a text": ("sample", null, "--count", 1, "--out", out),
        "a nested index": ("info", tmp_path / "index"),
        "an index that is a pipe": ("info", tmp_path / "pipe"),
        "weights that are a folder": ("sample", _folder_for(model("w"), "model.safetensors"), "--out", out),
        "a config that is empty": ("sample", _empty(model("e"), "config.json"), "--out", out),
    }


def _folder_for(model: Path, name: str) -> Path:
    (model / name).unlink()
    (model / name).mkdir()
    (model / "checksums.json").unlink()
    return model


def _empty(model: Path, name: str) -> Path:
    (model / name).write_bytes(b"")
    (model / "checksums.json").unlink()
    return model


def test_damaged_and_lying_files_are_one_line(tmp_path: Path, realuid) -> None:
    codes = {}
    for what, words in lying(tmp_path).items():
        code, said = realuid(*words)
        assert code in (0, 2) and said.count("realuid: error:") == (code == 2) and len(said) < 1500, (what, said)
        codes[what] = code
    assert {what for what, code in codes.items() if code == 0} <= {"an entry called ."}


def test_data_as_a_text_is_no_hindrance_to_an_export(tmp_path: Path, realuid) -> None:
    save_pretrained(Generator(small_teacher()), tmp_path / "g", data="digits")
    code, said = realuid("export", tmp_path / "g", tmp_path / "c", "--to", "diffusers")
    assert code == 0, said


# -- h05, h06: torch files -----------------------------------------------------------------------------------------


def forged(path: Path, payload: bytes) -> Path:
    """A torch file with another pickle in it."""
    torch.save({"net_model": {}}, path)
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, payload if name.endswith("data.pkl") else content)
    return path


KEYS = {
    "shared tuples": b"\x80\x02}X\x01\x00\x00\x00aq\x00"
    + b"".join(b"h" + bytes([i]) + b"\x86q" + bytes([i + 1]) for i in range(64))
    + b"Ns.",
    "deep tuples": b"\x80\x02}N" + b"\x85" * 200_000 + b"Ns.",
    "a list": b"\x80\x02}]Ns.",
    "itself": b"\x80\x02}q\x00h\x00Ns.",
}


@pytest.mark.parametrize("kind", KEYS)
def test_keys_that_hash_for_ever_or_crash(kind: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError):
        read_torch_file(forged(tmp_path / "a.pt", KEYS[kind]))


@pytest.mark.parametrize("kind", ["stride 0", "meta", "an endless view"])
def test_tensors_that_claim_more_than_their_file_holds(kind: str, tmp_path: Path) -> None:
    tensor = {
        "stride 0": torch.zeros(1).as_strided((2**15, 2**15), (0, 0)),
        "meta": torch.empty(2**15, 2**15, device="meta"),
        "an endless view": torch.zeros(4).expand(2**28, 4),
    }[kind]
    torch.save({"net_model": {"time_embed.0.weight": tensor}}, tmp_path / "a.pt")
    tracemalloc.start()
    with pytest.raises(CheckpointError):
        library.load_model(tmp_path / "a.pt", kind="teacher")
    assert tracemalloc.get_traced_memory()[1] < 50e6
    tracemalloc.stop()


# -- m02: settings that no weight pins -----------------------------------------------------------------------------


@pytest.mark.parametrize("size", [6144, 131072, -8, "8", 8.5, 10**30, None, [8, 8]])
def test_a_sample_size_that_no_weight_pins(size, tmp_path: Path) -> None:
    settings = {"num_attention_heads": 1, "attention_head_dim": 16, "in_channels": 1, "num_layers": 1, "patch_size": 2}
    network = DiT(sample_size=8, norm_num_groups=1, num_embeds_ada_norm=10, **settings)
    folder = save_pretrained(Generator(MatchingModel(network, make_path("linear"))), tmp_path / "dit")
    edit(folder, lambda c: c["network"]["settings"].update(sample_size=size))
    with pytest.raises(CheckpointError):
        library.load_model(folder)


@pytest.mark.parametrize("steps", [10**8, 4 * 10**8, 0, -1, 1.5, "many", True])
def test_a_number_of_steps_that_no_weight_pins(steps, tmp_path: Path) -> None:
    folder = save_pretrained(Generator(small_teacher()), tmp_path / "g")
    edit(folder, lambda c: c.update(path={"name": "ddpm", "num_train_timesteps": steps}, t_init=0.5))
    with pytest.raises(RealUIDError):
        library.load_model(folder)


# -- m05: all students of a recipe are checked first ---------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.usefixtures("untimed")
def test_students_are_checked_before_the_teacher_is_trained(moons: Path, tmp_path: Path, realuid) -> None:
    text = moons.read_text().partition("students:")[0]
    (tmp_path / "good.yaml").write_text(text + "students: {real: {alpha: 0.96, beta: 0.98}, uid: {alpha: 1.0}}\n")
    (tmp_path / "bad.yaml").write_text(text + "students: {real: {alpha: 0.96, beta: 0.98}, uid: {alpha: -1.0}}\n")
    assert realuid("demo", tmp_path / "good.yaml", "--out", tmp_path / "good")[0] == 0
    code, said = realuid("demo", tmp_path / "bad.yaml", "--out", tmp_path / "bad")
    assert code == 2 and "alpha" in said and not (tmp_path / "bad" / "teacher").exists()


# -- variants, schedules of zero SNR -------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", ["fp16", "bf16", "ema"])
def test_the_only_variant_there_is_is_read(variant: str, tmp_path: Path) -> None:
    network = unet(1)
    network.save_pretrained(tmp_path / "unet", variant=variant)
    DDPMScheduler().save_pretrained(tmp_path / "scheduler")
    model = library.load_teacher(tmp_path)
    assert torch.equal(next(model.parameters()), next(network.parameters()))


def test_several_variants_are_named(tmp_path: Path) -> None:
    for variant in ("fp16", "ema"):
        unet(1).save_pretrained(tmp_path / "unet", variant=variant)
    DDPMScheduler().save_pretrained(tmp_path / "scheduler")
    with pytest.raises(CheckpointError, match=r"several variants \(ema, fp16\)"):
        library.load_teacher(tmp_path)


@pytest.mark.parametrize("kind", [DDPMScheduler, DDIMScheduler])
@pytest.mark.parametrize("zero", [False, True])
def test_noise_on_a_schedule_of_zero_snr(zero: bool, kind: type, tmp_path: Path) -> None:
    """An exact noise predictor of N(0, 0.5^2), off by 1%: refused, or its samples have standard deviation 0.5."""
    scheduler = kind(rescale_betas_zero_snr=zero)
    table = scheduler.alphas_cumprod.double()

    def noise(x: Tensor, step: Tensor) -> Tensor:
        a2 = table[step.round().long()].view(-1, 1, 1, 1)
        return (1.01 * (1 - a2).sqrt() * x.double() / (a2 * 0.25 + 1 - a2)).float()

    try:
        path, prediction, preconditioning, *_ = read_scheduler({"_class_name": kind.__name__, **scheduler.config})
    except CheckpointError as error:
        assert zero and "rescale_betas_zero_snr with prediction_type = epsilon" in str(error)
        return
    teacher = library.Teacher(noise, (1, 8, 8), path=path, prediction=prediction, preconditioning=preconditioning)
    for sampler in ("ddim", "euler", "dpm_solver"):
        assert 0.35 < float(library.sample(teacher, 64, steps=50, sampler=sampler).std()) < 0.8, sampler


# -- labels of functions (l07, labels_unchecked) -------------------------------------------------------------------

LABELS = {
    "out of range": torch.tensor([0, 1, 2, 3]),
    "negative": torch.tensor([0, 1, 2, -1]),
    "too few": torch.tensor([0, 1]),
    "too many": torch.tensor([0, 1, 2, 0, 1]),
    "a fraction": torch.tensor([0.5, 1.0, 2.0, 0.0]),
    "not numbers": torch.tensor([float("nan")] * 4),
    "a name": ["0", "1", "cat", "0"],
    "two axes": torch.zeros(4, 2).long(),
    "a text": "cat",
}


@pytest.mark.parametrize("kind", LABELS)
def test_labels_that_are_no_classes(kind: str) -> None:
    with pytest.raises(ConfigError, match=r"label|class"):
        library.sample(small_teacher(num_classes=3), 4, labels=LABELS[kind], steps=1)


def test_labels_for_an_unconditional_model_are_refused() -> None:
    with pytest.raises(ConfigError, match="has no effect"):
        library.sample(small_teacher(), 2, labels=torch.tensor([5, 7]), steps=1)


def test_lists_and_names_of_numbers_are_labels() -> None:
    model = small_teacher(num_classes=3)
    expected = library.sample(model, 4, labels=torch.tensor([0, 1, 2, 0]), steps=1)
    assert torch.equal(library.sample(model, 4, labels=[0, 1, 2, 0], steps=1), expected)
    assert torch.equal(library.sample(model, 4, labels=["0", "1", "2", "0"], steps=1), expected)


def test_models_are_measured_on_images_of_their_shape_only() -> None:
    colour = Dataset(torch.randint(0, 256, (64, 3, 8, 8), dtype=torch.uint8))
    with pytest.raises(ConfigError, match=r"samples of shape \(1, 8, 8\), but the data has shape \(3, 8, 8\)"):
        library.evaluate(small_teacher(), colour)
