"""Files of tensors with odd things in them, checksums that name other files, and things that are no files."""

from __future__ import annotations

import argparse
import io
import json
import os
import pickle
import random
import shutil
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from fuzz.harness import Case, mutate
from fuzz.models import loading, whole_folders
from fuzz.values import ODD, changed
from realuid.data import load_dataset
from realuid.errors import RealUIDError
from realuid.exports import load_any
from realuid.files import CHECKSUMS, damage
from realuid.loaders import load_model
from realuid.models import from_pretrained, load_single_file, save_single_file
from realuid.models.saving.torch_file import read_torch_file
from realuid.recipes import load_recipe


class _Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch it-ran",)


def _itself() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


def _deep(kind: type, depth: int) -> Any:
    value: Any = kind()
    for _ in range(depth):
        value = kind([value]) if kind is not dict else {"a": value}
    return value


_TENSORS: tuple[Callable[[], Any], ...] = (
    lambda: torch.zeros(1).expand(10**12),
    lambda: torch.zeros(1).as_strided((10**6, 10**6), (0, 0)),
    lambda: torch.empty(10**12, device="meta"),
    lambda: torch.eye(3).to_sparse(),
    lambda: torch.eye(3).to_sparse_csr(),
    lambda: torch.quantize_per_tensor(torch.zeros(3), 0.1, 0, torch.qint8),
    lambda: torch.quantize_per_channel(torch.zeros(3, 3), torch.ones(3), torch.zeros(3), 0, torch.qint8),
    lambda: torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)]),
    lambda: torch.zeros(3, dtype=torch.complex64),
    lambda: torch.zeros(3, dtype=torch.complex64).conj(),
    lambda: torch.zeros(3).to(torch.float8_e4m3fn),
    lambda: torch.zeros(3, dtype=torch.uint16),
    lambda: torch.zeros(0, 10**9),
    lambda: torch.zeros(()),
    lambda: torch.zeros(4, 4).t()[1:, ::2],
    lambda: torch.nn.Parameter(torch.zeros(2)),
    lambda: torch.full((3,), float("nan")),
)
_OTHERS: tuple[Callable[[], Any], ...] = (
    *(_Evil, _itself, object, lambda: {(1, (2,)): 1}, lambda: {1: 2}),
    *(lambda: _deep(list, 400), lambda: _deep(dict, 400), lambda: _deep(tuple, 400), lambda: argparse.Namespace(a=1)),
    *(
        lambda: OrderedDict(a=1),
        lambda: {1, "a"},
        lambda: frozenset((1,)),
        lambda: b"x",
        lambda: 2**70,
        lambda: slice(1),
    ),
    *(lambda: torch.float32, lambda: torch.device("cuda:7"), lambda: torch.Size((1, 2)), lambda: torch.Generator()),
    *(lambda: torch.nn.Linear(2, 2), lambda: range(3), lambda: 1 + 2j, lambda: print, lambda: torch.save),
)
#: Pickles that torch would not write: keys of 2^200 parts, and so deep that hashing them ends the process; loops.
_PICKLES = (
    b"\x80\x02})" + b"2\x86" * 200 + b"K\x01s.",
    b"\x80\x02})" + b"\x85" * 100_000 + b"K\x01s.",
    b"\x80\x02" + b"(" * 100_000 + b"t" * 100_000 + b".",
    b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".",
    b"\x80\x02}q\x00(h\x00h\x00u.",
    b"\x80\x02}q\x00X\x01\x00\x00\x00ah\x00s.",
    b"\x80\x04\x8f(" + b"".join(b"\x8a\x08" + (n * (2**61 - 1)).to_bytes(8, "little") for n in range(4)) + b"\x90.",
    b"\x80\x02j\xff\xff\xff\xff.",
)
_NAMES = ("net_model", "ema_model", "state_dict", "model", "time_embed.0.weight", "a", "step", "G_ema", "")


def torch_files(folder: Path, chance: random.Random) -> Iterator[Case]:
    """Files of torch with odd tensors and containers, in both formats, with damaged bytes and pickles."""
    path = folder / "damaged.pt"
    while True:
        parts = chance.choice((_TENSORS, _OTHERS, (lambda: torch.zeros(2, 2),)))
        content: Any = {chance.choice(_NAMES): chance.choice(parts)() for _ in range(chance.choice((1, 2, 3)))}
        content = {chance.choice(_NAMES): content} if chance.random() < 0.5 else content
        content = chance.choice(_OTHERS)() if chance.random() < 0.1 else content
        file = io.BytesIO()
        try:
            torch.save(content, file, _use_new_zipfile_serialization=chance.random() < 0.7)
        except (RuntimeError, AttributeError, TypeError, pickle.PicklingError, NotImplementedError, RecursionError):
            continue  # what torch cannot write
        path.write_bytes(_torch_damage(file.getvalue(), chance))
        read = chance.choice((lambda: read_torch_file(path), loading(lambda: load_model(path, kind="teacher"))))
        yield Case(read, path.stat().st_size)


def _torch_damage(whole: bytes, chance: random.Random) -> bytes:
    """Nothing, bytes, or the pickle in an archive, whose checksum fits then."""
    kind = chance.randrange(4)
    if kind == 0 or (kind == 1 and not whole.startswith(b"PK")):
        return whole
    if kind == 1:
        out = io.BytesIO()
        compression = chance.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
        with zipfile.ZipFile(io.BytesIO(whole)) as old, zipfile.ZipFile(out, "w", compression) as new:
            for name in old.namelist():
                content = old.read(name)
                if name.endswith("data.pkl"):
                    content = chance.choice(_PICKLES) if chance.random() < 0.2 else mutate(content, chance)
                new.writestr(name, content)
        return out.getvalue()
    return mutate(whole, chance)


def safetensors_files(folder: Path, chance: random.Random) -> Iterator[Case]:
    """Single files with odd descriptions, odd entries of tensors, and damaged bytes."""
    models = [from_pretrained(path) for path in whole_folders(folder)]
    files = [save_single_file(model, folder / f"{i}.safetensors").read_bytes() for i, model in enumerate(models)]
    path = folder / "damaged.safetensors"
    while True:
        whole = chance.choice(files)
        length = int.from_bytes(whole[:8], "little")
        header: dict[str, Any] = json.loads(whole[8 : 8 + length])
        match chance.randrange(3):
            case 0:
                about = header["__metadata__"]
                about["realuid"] = json.dumps(changed(json.loads(about["realuid"]), chance))
            case 1:
                header = changed(header, chance)
            case 2:
                header[chance.choice(list(header))] = chance.choice(ODD)
        text = json.dumps(header).encode("utf-8", "surrogatepass")
        written = struct.pack("<Q", len(text)) + text + whole[8 + length :]
        path.write_bytes(mutate(written, chance, range(len(text) + 8)) if chance.random() < 0.2 else written)
        yield Case(loading(lambda: load_single_file(path)), path.stat().st_size)


def checksums(parent: Path, chance: random.Random) -> Iterator[Case]:
    """Checksums that name other files, or are something else."""
    folder = whole_folders(parent)[1]
    os.mkfifo(folder / "pipe")
    (folder / "link").symlink_to("/dev/zero")
    names = ("pipe", "link", "../0/config.json", "config.json/x", ".", "..", "C:\\x", "a\\b", "config.json\0")
    while True:
        sums: Any = {"config.json": "0" * 64, "model.safetensors": "0" * 64}
        for _ in range(chance.choice((1, 2))):
            odd = chance.choice([*names, *(value for value in ODD if isinstance(value, str))])
            sums[odd] = chance.choice(("0" * 64, *ODD))
        sums = chance.choice((changed(sums, chance), sums))
        content = json.dumps(sums).encode("utf-8", "surrogatepass")
        (folder / CHECKSUMS).write_bytes(mutate(content, chance) if chance.random() < 0.1 else content)
        read = chance.choice((loading(lambda: from_pretrained(folder)), lambda: damage(folder)))
        yield Case(read, 100_000)


#: Names of files that readers open, in a folder of each kind.
_FILES = (
    *("config.json", "model.safetensors", "unused.safetensors", "model_index.json", "unet/config.json", CHECKSUMS),
    *("unet/diffusion_pytorch_model.safetensors", "scheduler/scheduler_config.json", "dataset.json", "00000.png"),
    *("recipe.yaml", "best/config.json", "model/config.json", "vae/config.json", "state.json", "metadata.jsonl"),
)
_SINGLE = ("m.pt", "m.pkl", "m.safetensors", "m.onnx", "m.pt2", "m.zip", "m.tar", "m.yaml", "m.png", "m")


def specials(parent: Path, chance: random.Random) -> Iterator[Case]:
    """Pipes, devices, folders and links in the place of files."""
    number = 0
    while True:
        number += 1
        folder = parent / str(number)
        folder.mkdir()
        names = [chance.choice(_SINGLE)] if chance.random() < 0.5 else chance.sample(_FILES, chance.choice((1, 2, 3)))
        for name in names:
            path = folder / name
            path.parent.mkdir(exist_ok=True)
            match chance.randrange(6):
                case 0 | 1:
                    os.mkfifo(path)
                case 2:
                    path.symlink_to(chance.choice(("/dev/zero", "/dev/tty", "/dev/full", "/proc/self/mem")))
                case 3:
                    path.symlink_to(chance.choice((path.name, "..", "gone", "/proc/self/fd/0")))
                case 4:
                    path.mkdir()
                case 5:
                    path.touch()
        target = folder / names[0] if names[0] in _SINGLE else folder
        yield Case(lambda target=target: _try_all(target, chance), 0)  # type: ignore[misc]
        shutil.rmtree(folder)  # or links to the folder above would lead to all that were before


def _try_all(target: Path, chance: random.Random) -> None:
    """As a model, as data and as a recipe."""
    for read in (load_any, load_dataset, load_recipe):
        try:
            read(str(target))  # type: ignore[operator]
        except RealUIDError as error:
            last = error
    raise last
