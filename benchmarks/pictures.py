"""Pictures of docs/concepts.md, from the runs of `realuid demo`, of bridges in several calls, and of prompts.

python -m benchmarks.pictures concepts runs/demo docs/images
python -m benchmarks.pictures bridges TEST.zip OUT.png --bridge grey TEACHER STUDENT --bridge sr-box-4 TEACHER STUDENT
python -m benchmarks.pictures prompts TEST.zip OUT.png --row "teacher, 25 steps" TEACHER 25 --row UID STUDENT 1
"""

from __future__ import annotations

import argparse
import textwrap
from pathlib import Path

import torch
from PIL import Image, ImageDraw
from torch import Tensor

import realuid
from realuid.data import degrade, grid_image, to_float
from realuid.exports import load_any
from realuid.models import MatchingModel
from realuid.paths import make_path

#: Times of a path that are shown, and numbers of steps of the teacher.
TIMES, STEPS = (0.0, 0.1, 0.25, 0.45, 0.7, 1.0), (1, 2, 5, 10, 50)
#: Magnification of digits, the sample of each class that is shown, and shades of grey that are kept.
SCALE, SEED, SHADES = 7, 5, 32
#: Pictures of bridges: number of images of each, distance between their numbers, and calls of the student.
IMAGES, EVERY, CALLS = 6, 7, (1, 2, 4)
#: Pictures of prompts: number of them, distance between them in the data, side of an image, margins for words.
PROMPTS, APART, SIDE, LEFT, TOP = 9, 17, 96, 150, 48


def paths() -> Tensor:
    """A digit on its way from data (left) to source (right): flow, diffusion, and a bridge to its degraded copy.

    Returns:
        images, one row after the other, shape (3 * times, 1, 8, 8).
    """
    digit = realuid.load_dataset("digits").values[8:9]
    x_0, blurred = to_float(digit), to_float(degrade(digit, "sr-box-4"))
    noise, more = torch.randn(2, *x_0.shape, generator=torch.Generator().manual_seed(SEED)).unbind(0)
    ways = [("linear", {}, noise), ("vp", {}, noise), ("brownian_bridge", {"noise": 0.5}, blurred)]
    found = []
    for name, settings, x_T in ways:
        path = make_path(name, **settings)
        for t in TIMES:
            time = torch.tensor([min(max(t, path.t_min), path.t_max)])
            k = path.coefficients(time).expand(x_0)
            found.append(k.a * x_0 + k.b * x_T + k.c * more)
    return torch.cat(found)


def steps(demo: Path) -> Tensor:
    """Samples of every class from the same noise: the teacher in more and more calls, then its student in one.

    Returns:
        images, one row after the other, shape (10 * (steps + 1), 1, 8, 8).
    """
    teacher, student = realuid.load_teacher(demo / "teacher"), realuid.load_generator(demo / "real-data")
    rows = [realuid.sample(teacher, 10, seed=SEED, labels=list(range(10)), steps=n, sampler="euler") for n in STEPS]
    return torch.cat([*rows, realuid.sample(student, 10, seed=SEED, labels=list(range(10)))])


def restored(source: str, pairs: str, teacher: str, student: str) -> Tensor:
    """Columns of input, teacher, student in 1, 2, ... calls and truth; every `EVERY`-th image from the third on.

    Returns:
        images, row by row, shape (IMAGES * columns, c, h, w).
    """
    data = realuid.load_dataset(source, pairs=pairs).take(torch.arange(IMAGES) * EVERY + 2)
    given, truth, of_calls = to_float(data.sources), to_float(data.values), realuid.load_generator(student)
    columns = [given, realuid.sample(teacher, IMAGES, seed=SEED, sources=given, steps=50)]
    for calls in CALLS:
        columns.append(realuid.sample(of_calls, IMAGES, seed=SEED, sources=given, calls=calls))
    return torch.stack([*columns, truth], dim=1).flatten(0, 1)


def drawn(source: str, rows: list[list[str]]) -> Image.Image:
    """A column for every `APART`-th caption of the data; rows: the real image, and every model from the same noise."""
    data, rows_of_data = realuid.load_dataset(source), torch.arange(PROMPTS) * APART + 5
    captions = [str(data.captions[i]) for i in rows_of_data.tolist()]
    images = [to_float(data.take(rows_of_data).values)]
    for _, model, calls in rows:
        loaded = load_any(model)
        number = {"steps" if isinstance(loaded, MatchingModel) else "calls": int(calls)}
        images.append(realuid.sample(loaded, PROMPTS, seed=SEED, prompts=captions, **number))
    sheet = Image.new("RGB", (LEFT + PROMPTS * SIDE, TOP + len(images) * SIDE), "white")
    ink = ImageDraw.Draw(sheet)
    for column, caption in enumerate(captions):
        lines = textwrap.wrap(caption.replace(" skin tone", ""), 16)
        ink.multiline_text((LEFT + column * SIDE, 4), "\n".join(lines), "black")
    for row, (name, made) in enumerate(zip(["real image", *(words[0] for words in rows)], images, strict=True)):
        ink.text((4, TOP + row * SIDE + SIDE // 2 - 5), name, "black")
        picture = grid_image(made, PROMPTS)
        sheet.paste(picture.resize((PROMPTS * SIDE, SIDE), Image.Resampling.BICUBIC), (LEFT, TOP + row * SIDE))
    return sheet


def concepts(demo: Path, out: Path) -> None:
    """The pictures of docs/concepts.md."""
    pictures = {
        "concepts-paths": grid_image(paths(), len(TIMES), 2 * SCALE),
        "concepts-steps": grid_image(steps(demo), 10, SCALE),
    }
    for name, picture in pictures.items():
        picture.convert("L").quantize(SHADES).save(out / f"{name}.png", optimize=True)


def bridges(source: str, out: Path, runs: list[list[str]]) -> None:
    """A row for each image, bridge by bridge."""
    grid_image(torch.cat([restored(source, *run) for run in runs]), len(CALLS) + 3, 2).save(out, optimize=True)


def main() -> None:
    """Write the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest="kind", required=True)
    of_demo = kinds.add_parser("concepts")
    of_demo.add_argument("demo", type=Path, help="folder of `realuid demo`")
    of_demo.add_argument("out", type=Path, help="folder of the pictures")
    of_bridges = kinds.add_parser("bridges")
    of_bridges.add_argument("source", help="images")
    of_bridges.add_argument("out", type=Path, help="the picture")
    of_bridges.add_argument(
        "--bridge", nargs=3, action="append", required=True, metavar=("PAIRS", "TEACHER", "STUDENT")
    )
    of_prompts = kinds.add_parser("prompts")
    of_prompts.add_argument("source", help="captioned images")
    of_prompts.add_argument("out", type=Path, help="the picture")
    of_prompts.add_argument("--row", nargs=3, action="append", required=True, metavar=("NAME", "MODEL", "CALLS"))
    asked = parser.parse_args()
    if asked.kind == "prompts":
        drawn(asked.source, asked.row).quantize(256).save(asked.out, optimize=True)
    elif asked.kind == "concepts":
        concepts(asked.demo, asked.out)
    else:
        bridges(asked.source, asked.out, asked.bridge)


if __name__ == "__main__":
    main()
