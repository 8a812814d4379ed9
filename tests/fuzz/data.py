"""Damaged data sets: zips, tars, images, listings of labels, and folders of Hugging Face."""

from __future__ import annotations

import io
import json
import random
import shutil
import tarfile
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from fuzz.harness import Case, mutate
from fuzz.values import ODD, changed
from realuid.data import Dataset, load_dataset
from realuid.data.arrow_writer import write_arrow

_NAMES = (
    *("a/0.png", "a/1.png", "b/0.png", "b/1.png", ".", "./x.png", "../x.png", "/x.png", "a\\0.png", "C:\\x.png", "a/"),
    *("\0.png", "é.png", "x" * 300 + ".png", "a/../b.png", "0.cls", "a/0.cls", "dataset.json", "[/b].png", "\x1b.png"),
)
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")


def image(chance: random.Random, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    mode = chance.choice(("L", "RGB")) if kind != "PNG" else chance.choice(("L", "RGB", "RGBA", "P", "1", "I;16"))
    Image.new(mode, (8, 8), chance.randrange(2)).save(file, kind)
    return file.getvalue()


def _listing(names: list[str]) -> dict[str, Any]:
    return {"labels": [[name, i % 2] for i, name in enumerate(names)]}


def _loading(source: str) -> Any:
    def read() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data = load_dataset(source)
            data.take(torch.arange(min(4, len(data))))

    return read


def zips(folder: Path, chance: random.Random) -> Iterator[Case]:
    """Zips with odd names, methods and entries, and damaged bytes."""
    path = folder / "damaged.zip"
    while True:
        names = chance.sample(_NAMES, chance.choice((2, 4, 6)))
        with warnings.catch_warnings(), zipfile.ZipFile(path, "w", chance.choice((0, 0, 8, 12, 14))) as archive:
            warnings.simplefilter("ignore")  # of two files of one name
            for name in (*names, *names[: chance.randrange(2)], "a/2.png", "b/2.png"):
                try:
                    archive.writestr(name, _entry(name, names, chance))
                except (ValueError, IndexError):  # a name that is none
                    continue
        if chance.random() < 0.6:
            content = path.read_bytes()
            directory = content.rfind(b"PK\x01\x02", 0, max(content.rfind(b"PK\x05\x06"), 1))
            path.write_bytes(mutate(content, chance, range(max(directory, 0), len(content))))
        yield Case(_loading(str(path)), path.stat().st_size)


def _entry(name: str, names: list[str], chance: random.Random) -> bytes:
    if name.endswith(".json"):
        return json.dumps(changed(_listing(names), chance)).encode("utf-8", "surrogatepass")
    if name.endswith(".cls"):
        return str(chance.choice(ODD)).encode("utf-8", "surrogatepass")[:1000]
    return bytes(10**6) if chance.random() < 0.02 else image(chance)


def tars(folder: Path, chance: random.Random) -> Iterator[Case]:
    """Tars with odd names, links and devices, and damaged bytes."""
    path = folder / "damaged.tar"
    kinds = (
        tarfile.SYMTYPE,
        tarfile.LNKTYPE,
        tarfile.CHRTYPE,
        tarfile.FIFOTYPE,
        tarfile.DIRTYPE,
        tarfile.GNUTYPE_SPARSE,
    )
    while True:
        names = chance.sample([name for name in _NAMES if "\0" not in name], chance.choice((2, 4, 6)))
        with tarfile.open(path, "w", format=chance.choice((0, 1, 2))) as archive:
            for name in (*names, "a/2.png", "b/2.png"):
                content, info = _entry(name, names, chance), tarfile.TarInfo(name)
                info.size = len(content)
                if chance.random() < 0.1:
                    info.type, info.linkname = (
                        chance.choice(kinds),
                        chance.choice(("/etc/passwd", "..", name, "/dev/zero")),
                    )
                try:
                    archive.addfile(info, io.BytesIO(content))
                except ValueError:  # a name that does not fit
                    continue
        if chance.random() < 0.5:
            path.write_bytes(mutate(path.read_bytes(), chance))
        yield Case(_loading(str(path)), path.stat().st_size)


def images(folder: Path, chance: random.Random) -> Iterator[Case]:
    """A folder with a damaged image of one of several formats, under the ending of another."""
    place = folder / "images"
    while True:
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        (place / "0.png").write_bytes(image(chance))
        content = mutate(image(chance, chance.choice(_FORMATS)), chance, range(64))
        (place / f"1.{chance.choice(('png', 'jpg', 'bmp', 'gif', 'tif', 'webp', 'ppm'))}").write_bytes(content)
        yield Case(_loading(str(place)), len(content))


def listings(folder: Path, chance: random.Random) -> Iterator[Case]:
    """A folder whose dataset.json says something odd."""
    place = folder / "listed"
    place.mkdir()
    names = [f"{i}.png" for i in range(6)]
    for name in names:
        (place / name).write_bytes(image(random.Random(0)))
    while True:
        content = json.dumps(changed(_listing(names), chance)).encode("utf-8", "surrogatepass")
        (place / "dataset.json").write_bytes(mutate(content, chance) if chance.random() < 0.3 else content)
        yield Case(_loading(str(place)), len(content))


def arrow(folder: Path, chance: random.Random) -> Iterator[Case]:
    """Data sets that Hugging Face's library and realuid saved, with damaged bytes and odd settings."""
    import datasets

    places = (folder / "saved", folder / "pairs", folder / "latents")
    table = {"image": [Image.new("L", (8, 8), i) for i in range(6)], "label": [i % 2 for i in range(6)]}
    kinds = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"])})
    datasets.disable_progress_bars()
    datasets.Dataset.from_dict(table, features=kinds).save_to_disk(str(places[0]))
    images, labels = torch.zeros((6, 1, 8, 8), dtype=torch.uint8), torch.arange(6) % 2
    pairs = Dataset(images, labels, classes=("a", "b"), sources=images, degradation="jpeg-10", degradation_seed=1)
    write_arrow(pairs, places[1])
    write_arrow(Dataset(torch.zeros(6, 4, 2, 2), columns={"sizes": torch.zeros(6, 2)}), places[2])
    wholes = {place: {path: path.read_bytes() for path in place.iterdir()} for place in places}
    while True:
        place = chance.choice(places)
        whole = wholes[place]
        path = chance.choice(list(whole))
        if path.suffix == ".json" and chance.random() < 0.7:
            content = json.dumps(changed(json.loads(whole[path]), chance)).encode(errors="replace")
        else:
            content = mutate(whole[path], chance)
        path.write_bytes(content)
        yield Case(_loading(chance.choice((f"hf:{place}", str(place)))), sum(map(len, whole.values())))
        path.write_bytes(whole[path])


def metadata(folder: Path, chance: random.Random) -> Iterator[Case]:
    """Folders of images of Hugging Face's layout, with an odd metadata.jsonl."""
    import datasets

    datasets.disable_progress_bars()
    cache = datasets.config.HF_DATASETS_CACHE = folder / "cache"
    number = 0
    while True:
        number += 1
        place = folder / str(number)  # the library caches by name
        place.mkdir()
        for i in range(4):
            (place / f"{i}.png").write_bytes(image(random.Random(0)))
        rows: list[Any] = [{"file_name": f"{i}.png", "label": i % 2} for i in range(4)]
        lines = [json.dumps(row) for row in changed(rows, chance)]
        content = "\n".join(lines).encode("utf-8", "surrogatepass")
        (place / "metadata.jsonl").write_bytes(
            mutate(content, chance) if content and chance.random() < 0.3 else content
        )
        yield Case(_loading(f"hf:{place}"), len(content))
        shutil.rmtree(place)
        shutil.rmtree(cache, ignore_errors=True)
