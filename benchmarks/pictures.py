"""Pictures of docs/concepts.md, from the runs of `realuid demo`.

python -m benchmarks.pictures runs/demo docs/images
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

import realuid
from realuid.data import degrade, grid_image, to_float
from realuid.paths import make_path

#: Times of a path that are shown, and numbers of steps of the teacher.
TIMES, STEPS = (0.0, 0.1, 0.25, 0.45, 0.7, 1.0), (1, 2, 5, 10, 50)
#: Magnification of digits, the sample of each class that is shown, and shades of grey that are kept.
SCALE, SEED, SHADES = 7, 5, 32


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


def main() -> None:
    """Write the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("demo", type=Path, help="folder of `realuid demo`")
    parser.add_argument("out", type=Path, help="folder of the pictures")
    asked = parser.parse_args()
    pictures = {
        "concepts-paths": grid_image(paths(), len(TIMES), 2 * SCALE),
        "concepts-steps": grid_image(steps(asked.demo), 10, SCALE),
    }
    for name, picture in pictures.items():
        picture.convert("L").quantize(SHADES).save(asked.out / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
