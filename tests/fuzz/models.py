"""Damaged model files: network pickles, folders of realuid and of diffusers, and their settings with wrong types."""

from __future__ import annotations

import json
import math
import pickletools
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import diffusers_folders
import edm_layout
import torch
from diffusers import DDPMScheduler, UNet2DModel, VQModel

from fuzz.harness import Case, mutate
from fuzz.values import changed
from realuid.exports import ExportedStudent
from realuid.files import CHECKSUMS
from realuid.loaders import load_edm_pickle, load_teacher
from realuid.loaders.codecs import load_autoencoder
from realuid.models import (
    EDM,
    MLP,
    Condition,
    Generator,
    MatchingModel,
    SongUNet,
    UNet,
    from_pretrained,
    save_pretrained,
)
from realuid.models.codec import Codec
from realuid.paths import VEPath, make_path

Model = MatchingModel | Generator | ExportedStudent
#: Numbers of an image that the networks here are not called with: it would take seconds, whatever a file says.
_LARGE = 2**20

SONG = {**edm_layout.DDPMPP_CIFAR, "img_resolution": 8, "model_channels": 8, "channel_mult": [1], "num_blocks": 1}
SONG |= {"attn_resolutions": [8], "label_dim": 3}
ADM = {**edm_layout.ADM_IMAGENET, "img_resolution": 8, "model_channels": 8, "channel_mult": [1], "num_blocks": 1}
ADM |= {"attn_resolutions": [8], "label_dim": 0}

WEIGHTS = "unet/diffusion_pytorch_model.safetensors"
_TINY = {"sample_size": 8, "in_channels": 1, "out_channels": 1, "layers_per_block": 1, "norm_num_groups": 4}
_TINY |= {"add_attention": False}
SETTINGS = ("unet/config.json", "scheduler/scheduler_config.json", "model_index.json")


@torch.no_grad()
def run_once(model: Model) -> None:
    """What was loaded has to run, on inputs of the kinds that it declares; on large images that takes its time."""
    if isinstance(model, ExportedStudent):
        given = dict(zip(model.contract.names, model.contract.example(1)[1:], strict=True))
        assert model(torch.zeros(1, *model.shape), Condition(given)).shape == (1, *model.image_shape)
        return
    matching = model.model if isinstance(model, Generator) else model
    if math.prod(matching.shape) > _LARGE:
        return
    x = torch.zeros(1, *matching.shape)
    labels = torch.zeros(1, dtype=torch.int64) if matching.num_classes else None
    condition = Condition(label=labels, source=x if matching.network.sees_source else None)
    y = model(x, condition) if isinstance(model, Generator) else model(x, torch.full((1,), 0.5), condition)
    assert y.shape == x.shape
    matching.path.grid(3), matching.path.sample_time(torch.tensor([0.5]))


def loading(load: Callable[[], Model]) -> Callable[[], object]:
    """Loads a model and runs it once."""
    return lambda: run_once(load())


def whole_pickles(folder: Path) -> list[tuple[bytes, list[int]]]:
    """Whole network pickles, and where their instructions start."""
    kinds = [
        ("song", SONG, edm_layout.song_shapes, {"network": "SongUNet", "wrapper": "VPPrecond"}),
        ("adm", ADM, edm_layout.adm_shapes, {"network": "DhariwalUNet", "wrapper": "EDMPrecond"}),
    ]
    files = []
    for name, arguments, shapes, classes in kinds:
        weights = edm_layout.random_weights(shapes(arguments))
        content = edm_layout.write(folder / f"{name}.pkl", arguments, weights, **classes).read_bytes()
        files.append((content, [position for _, _, position in pickletools.genops(content)]))
    return files


def pickles(folder: Path, chance: random.Random) -> Iterator[Case]:
    """Network pickles of EDM with damaged bytes."""
    files, path = whole_pickles(folder), folder / "damaged.pkl"
    while True:
        content, hot = chance.choice(files)
        path.write_bytes(mutate(content, chance, hot))
        yield Case(loading(lambda: load_edm_pickle(path)), path.stat().st_size)


def whole_folders(parent: Path) -> list[Path]:
    """Whole model folders, without checksums: otherwise nothing damaged gets past them."""
    unet = {"sample_size": 4, "in_channels": 1, "out_channels": 1, "block_out_channels": [8, 8], "layers_per_block": 1}
    unet |= {"down_block_types": ["DownBlock2D", "DownBlock2D"], "up_block_types": ["UpBlock2D", "UpBlock2D"]}
    unet |= {"norm_num_groups": 4, "add_attention": False}
    models = [
        MatchingModel(SongUNet(**SONG), VEPath(), preconditioning=EDM()),
        Generator(MatchingModel(MLP(2, width=8, depth=2, num_classes=3), make_path("linear"))),
        MatchingModel(UNet(**unet), make_path("trigonometric")),
    ]
    folders = [save_pretrained(model, parent / str(i)) for i, model in enumerate(models)]
    for folder in folders:
        (folder / CHECKSUMS).unlink()
    return folders


def _damaged(
    path: Path, content: bytes, load: Callable[[], Any], run: Callable[[Any], None] = run_once
) -> Callable[[], object]:
    """Damages a file, loads, mends it, and runs what was loaded."""

    def read() -> None:
        whole = path.read_bytes()
        path.write_bytes(content)
        try:
            model = load()
        finally:
            path.write_bytes(whole)
        run(model)

    return read


def _header(content: bytes) -> range:
    """Where the header of a safetensors file is."""
    return range(8 + int.from_bytes(content[:8], "little"))


def folders(parent: Path, chance: random.Random) -> Iterator[Case]:
    """Model folders of realuid with damaged bytes."""
    whole = whole_folders(parent)
    while True:
        folder = chance.choice(whole)
        path = folder / chance.choice(("model.safetensors", "config.json"))
        content = path.read_bytes()
        damaged = mutate(content, chance, _header(content) if path.suffix == ".safetensors" else None)
        yield Case(_damaged(path, damaged, lambda folder=folder: from_pretrained(folder)), len(content))  # type: ignore[misc]


def _pipelines(parent: Path) -> list[Path]:
    """A pipeline with attention, and three times as often a smaller one, which is read in a quarter of the time."""
    scheduler = DDPMScheduler(num_train_timesteps=20)
    small = {"down_block_types": ("DownBlock2D",), "up_block_types": ("UpBlock2D",), "block_out_channels": (8,)}
    networks = (UNet2DModel(**_TINY, **small), diffusers_folders.unet())  # type: ignore[arg-type]
    whole = [diffusers_folders.save_ddpm(parent / str(i), network, scheduler) for i, network in enumerate(networks)]
    return [whole[0], whole[0], whole[0], whole[1]]


def diffusers(parent: Path, chance: random.Random) -> Iterator[Case]:
    """Pipelines of diffusers with damaged bytes."""
    whole = _pipelines(parent)
    while True:
        folder = chance.choice(whole)
        path = folder / chance.choice((*SETTINGS, WEIGHTS))
        content = path.read_bytes()
        damaged = mutate(content, chance, _header(content) if path.name.endswith(".safetensors") else None)
        yield Case(_damaged(path, damaged, lambda folder=folder: load_teacher(folder)), len(content))  # type: ignore[misc]


def _odd_json(path: Path, chance: random.Random) -> bytes:
    """A JSON file with values of wrong types in it."""
    odd: Any = changed(json.loads(path.read_text()), chance)
    content = json.dumps(odd).encode("utf-8", "surrogatepass")
    if chance.random() < 0.02:
        content = chance.choice((b"[" * 100_000, b'{"a":' * 100_000, content.replace(b":", b":" + b"[" * 5000, 1)))
    return content


def _odd(path: Path, chance: random.Random, load: Callable[[], Model]) -> Case:
    content = _odd_json(path, chance)
    return Case(_damaged(path, content, load), len(content))


def settings(parent: Path, chance: random.Random) -> Iterator[Case]:
    """Settings of realuid's model folders with wrong types, sizes and names in every place."""
    whole = whole_folders(parent)
    while True:
        folder = chance.choice(whole)
        yield _odd(folder / "config.json", chance, lambda folder=folder: from_pretrained(folder))  # type: ignore[misc]


def _decode(codec: Codec) -> None:
    latents = torch.zeros(3 if isinstance(codec.autoencoder, VQModel) else 4, 2, 2)
    assert codec.decode(latents[None])[0].shape == codec.image_shape(tuple(latents.shape))


def autoencoders(parent: Path, chance: random.Random) -> Iterator[Case]:
    """Settings of autoencoders with wrong types, sizes and names in every place."""
    whole = {parent / "kl": diffusers_folders.autoencoder(), parent / "vq": diffusers_folders.autoencoder("VQModel", 3)}
    for folder, autoencoder in whole.items():
        autoencoder.save_pretrained(folder)
    while True:
        folder = chance.choice(list(whole))
        path = folder / "config.json"
        content = _odd_json(path, chance)
        yield Case(_damaged(path, content, lambda folder=folder: load_autoencoder(folder), _decode), len(content))


def diffusers_settings(parent: Path, chance: random.Random) -> Iterator[Case]:
    """The same of networks, schedulers and pipelines of diffusers."""
    whole = _pipelines(parent)
    while True:
        folder = chance.choice(whole)
        yield _odd(folder / chance.choice(SETTINGS), chance, lambda folder=folder: load_teacher(folder))  # type: ignore[misc]
