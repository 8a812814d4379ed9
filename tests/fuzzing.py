"""Damage files in every way that comes to mind, and see what loading them does."""

from __future__ import annotations

import pickletools
import random
import signal
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import diffusers_folders
import edm_layout
import torch
from diffusers import DDPMScheduler

from realuid.errors import CheckpointError, RealUIDError
from realuid.exports import Contract, ExportedStudent
from realuid.exports.program import ProgramStudent, write_program
from realuid.files import CHECKSUMS
from realuid.loaders import load_edm_pickle, load_teacher
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
from realuid.paths import VEPath, make_path

Model = MatchingModel | Generator | ExportedStudent

SONG = {**edm_layout.DDPMPP_CIFAR, "img_resolution": 8, "model_channels": 8, "channel_mult": [1, 2], "num_blocks": 1}
SONG |= {"attn_resolutions": [4], "label_dim": 3}
ADM = {**edm_layout.ADM_IMAGENET, "img_resolution": 8, "model_channels": 8, "channel_mult": [1, 2], "num_blocks": 1}
ADM |= {"attn_resolutions": [4], "label_dim": 0}

WEIGHTS = "unet/diffusion_pytorch_model.safetensors"

#: Longer than any file here takes by far: of CPU time and, in case something waits, of a busy machine's wall time.
SECONDS, WAITING = 20, 300

#: Pieces of pickles, numbers and JSON that may upset a reader.
# fmt: off
_POISON = [
    b"cposix\nsystem\n(S'touch it-ran'\ntR", b"cos\nsystem\n", b"\x8c\x02os\x8c\x06system\x93", b"cbuiltins\neval\n",
    b"R", b"b", b"\x81", b"(", b"t", b"u", b"s", b"Q", b".", b"q\x00", b"r\xff\xff\xff\xff", b"j\xff\xff\xff\x7f",
    b"\x8a\xff", b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f", b"\x00", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff",
    b"null", b"true", b"-1", b"1e999", b"NaN", b"99999999999", b"[", b"{", b"}", b'"', b",", b":", b"[1]", b"[]", b"{}",
    b'"x"', b'"I32"', b'"F64"', b'"F8_E4M3"', b'"U8"',
]
# fmt: on


class HangError(Exception):
    """Loading took too long."""


#: What no loading may do, as Python's audit events call it; `outcome` looks here.
_FORBIDDEN = (
    "os.system",
    "os.exec",
    "os.fork",
    "os.posix_spawn",
    "subprocess.Popen",
    "pickle.find_class",
    "socket.connect",
)
_seen: list[str] = []


def _watch(event: str, arguments: tuple) -> None:
    if event in _FORBIDDEN:
        _seen.append(event)


sys.addaudithook(_watch)


@contextmanager
def deadline(seconds: int) -> Iterator[None]:
    """Raise HangError in the middle of whatever takes longer, in CPU time."""

    def stop(number, frame):
        raise HangError(f"more than {seconds} s")

    timers = ((signal.ITIMER_PROF, signal.SIGPROF, seconds), (signal.ITIMER_REAL, signal.SIGALRM, WAITING))
    previous = [signal.signal(number, stop) for _, number, _ in timers]
    for timer, _, length in timers:
        signal.setitimer(timer, length)
    try:
        yield
    finally:
        for (timer, number, _), handler in zip(timers, previous, strict=True):
            signal.setitimer(timer, 0)
            signal.signal(number, handler)


def mutate(data: bytes, hot: list[int], chance: random.Random) -> bytes:
    """One to three mutations of some bytes, four in five of them at the `hot` positions (structure, not numbers)."""
    mutated = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        at = chance.choice(hot) + chance.randrange(3) if chance.random() < 0.8 else chance.randrange(len(mutated))
        at = min(at, len(mutated) - 1)
        length = chance.choice((1, 1, 2, 4, 8, 64, 1000))
        match chance.randrange(12):
            case 0 | 9 | 10:
                mutated[at] ^= 1 << chance.randrange(8)
            case 1 | 11:
                mutated[at] = chance.randrange(256)
            case 2:
                mutated[at : at + length] = chance.randbytes(len(mutated[at : at + length]))
            case 3:
                del mutated[at : at + length]
            case 4:
                mutated[at:at] = mutated[at : at + length]
            case 5:
                mutated[at:at] = chance.choice(_POISON)
            case 6:
                poison = chance.choice(_POISON)
                mutated[at : at + len(poison)] = poison
            case 7:
                other = chance.choice(hot)
                mutated[at : at + length] = data[other : other + length]
            case 8:
                del mutated[at:]
        mutated = mutated or bytearray(b".")
    return bytes(mutated)


def pickles(folder: Path) -> list[tuple[bytes, list[int]]]:
    """Whole network pickles, and where their instructions start."""
    kinds = [
        ("song", SONG, edm_layout.song_shapes, {"network": "SongUNet", "wrapper": "VPPrecond"}),
        ("adm", ADM, edm_layout.adm_shapes, {"network": "DhariwalUNet", "wrapper": "EDMPrecond"}),
    ]
    files = []
    for name, arguments, shapes, classes in kinds:
        weights = edm_layout.random_weights(shapes(arguments))
        data = edm_layout.write(folder / f"{name}.pkl", arguments, weights, **classes).read_bytes()
        files.append((data, [position for _, _, position in pickletools.genops(data)]))
    return files


def models() -> list[Model]:
    """Small models of several kinds, to be saved as folders."""
    unet = {"sample_size": 4, "in_channels": 1, "out_channels": 1, "block_out_channels": [8, 8], "layers_per_block": 1}
    unet |= {"down_block_types": ["DownBlock2D", "DownBlock2D"], "up_block_types": ["UpBlock2D", "UpBlock2D"]}
    unet |= {"norm_num_groups": 4, "add_attention": False}
    return [
        MatchingModel(SongUNet(**SONG), VEPath(), preconditioning=EDM()),
        Generator(MatchingModel(MLP(2, width=8, depth=2, num_classes=3), make_path("linear"))),
        MatchingModel(UNet(**unet), make_path("trigonometric")),
    ]


def folders(parent: Path) -> list[tuple[Path, str, bytes, list[int]]]:
    """Whole model folders: folder, file to damage, its content, and where its structure is."""
    cases = []
    for i, model in enumerate(models()):
        folder = save_pretrained(model, parent / str(i))
        (folder / CHECKSUMS).unlink()  # otherwise nothing damaged gets past them
        weights, config = (folder / "model.safetensors").read_bytes(), (folder / "config.json").read_bytes()
        header = range(8 + int.from_bytes(weights[:8], "little"))
        cases += [(folder, "model.safetensors", weights, list(header))] * 2
        cases += [(folder, "config.json", config, list(range(len(config))))]
    return cases


@torch.no_grad()
def outcome(load: Callable[[], Model]) -> str:
    """What loading did: "loaded", or the name of the library's error. Anything else is raised."""
    _seen.clear()
    with deadline(SECONDS):
        try:
            model = load()
        except RealUIDError as error:
            return type(error).__name__
        finally:
            assert not _seen, f"loading did {_seen}"
        if isinstance(model, ExportedStudent):
            given = dict(zip(model.contract.inputs, model.contract.example(1), strict=True))
            try:
                assert model(given["noise"], Condition(label=given.get("labels"))).shape[0] == 1
            except CheckpointError:  # other numbers than its contract promises: classes, say
                return "stopped"
            return "loaded"
        matching = model.model if isinstance(model, Generator) else model
        x = torch.zeros(1, *matching.shape)
        labels = torch.zeros(1, dtype=torch.int64) if matching.num_classes else None
        condition = Condition(label=labels, source=x if matching.network.sees_source else None)
        y = model(x, condition) if isinstance(model, Generator) else model(x, torch.full((1,), 0.5), condition)
        assert y.shape == x.shape
        return "loaded"


def fuzz_pickles(folder: Path, count: int, seed: int) -> Iterator[str]:
    """Outcomes of loading `count` damaged pickles."""
    chance, files, path = random.Random(seed), pickles(folder), folder / "damaged.pkl"
    for i in range(count):
        path.write_bytes(mutate(*files[i % len(files)], chance))
        yield outcome(lambda: load_edm_pickle(path))


def diffusers_cases(parent: Path) -> list[tuple[Path, str, bytes, list[int]]]:
    """A whole pipeline of diffusers, and each of its files."""
    scheduler = DDPMScheduler(num_train_timesteps=20)
    folder = diffusers_folders.save_ddpm(parent / "pipeline", diffusers_folders.unet(), scheduler)
    files = ["unet/config.json", "scheduler/scheduler_config.json", "model_index.json"]
    cases = [(folder, name, data := (folder / name).read_bytes(), list(range(len(data)))) for name in files]
    weights = (folder / WEIGHTS).read_bytes()
    return [*cases, (folder, WEIGHTS, weights, list(range(8 + int.from_bytes(weights[:8], "little"))))]


def fuzz_diffusers(folder: Path, count: int, seed: int) -> Iterator[str]:
    """Outcomes of loading `count` pipelines of diffusers with a damaged file."""
    chance, cases = random.Random(seed), diffusers_cases(folder)
    for i in range(count):
        model, file, data, hot = cases[i % len(cases)]
        (model / file).write_bytes(mutate(data, hot, chance))
        found = outcome(lambda model=model: load_teacher(model))
        (model / file).write_bytes(data)
        yield found


def fuzz_folders(folder: Path, count: int, seed: int) -> Iterator[str]:
    """Outcomes of loading `count` model folders with a damaged file."""
    chance, cases = random.Random(seed), folders(folder)
    for i in range(count):
        model, file, data, hot = cases[i % len(cases)]
        (model / file).write_bytes(mutate(data, hot, chance))
        found = outcome(lambda model=model: from_pretrained(model))
        (model / file).write_bytes(data)
        yield found


def fuzz_programs(folder: Path, count: int, seed: int) -> Iterator[str]:
    """Outcomes of loading `count` damaged torch.export programs: their archive, or one of the texts in it."""
    chance, path = random.Random(seed), folder / "damaged.pt2"
    generator = Generator(MatchingModel(MLP(2, width=8, depth=1, num_classes=3), make_path("linear"))).eval()
    write_program(generator, path, Contract.of(generator))
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    texts = [name for name in records if name.endswith((".json", ".pt"))]
    for i in range(count):
        if i % 4:
            name = texts[i % len(texts)]
            changed = mutate(records[name], list(range(len(records[name]))), chance)
            with zipfile.ZipFile(path, "w") as archive:
                for other, content in records.items():
                    archive.writestr(other, changed if other == name else content)
        else:
            path.write_bytes(mutate(whole, list(range(len(whole))), chance))
        yield outcome(lambda: ProgramStudent(path))
