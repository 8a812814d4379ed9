"""How fast are samples written? Images a second to a zip, a tar and a folder.

    python benchmarks/writing.py [--count 4000] [--side 32] [--rounds 3]

Images are smooth ones with a little noise, 256 to a batch, ready before the clock starts. Writers take turns; figures
are medians. A folder's seconds are mostly the disk's.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from realuid.data.writers import write_samples
from realuid.files import write_json


def images(count: int, side: int) -> list[Tensor]:
    """Batches of float images in [-1, 1]."""
    random = torch.Generator().manual_seed(0)
    coarse = torch.randn(count, 3, 4, 4, generator=random)
    smooth = torch.nn.functional.interpolate(coarse, (side, side), mode="bicubic")
    noise = torch.randn(smooth.shape, generator=random)
    return list((0.4 * smooth + 0.03 * noise).clamp(-1, 1).split(256))


def main(arguments: list[str] | None = None) -> list[dict]:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=4000)
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("runs/writing.json"))
    options = parser.parse_args(arguments)
    batches, labels = images(options.count, options.side), torch.arange(options.count) % 10
    with tempfile.TemporaryDirectory() as folder:
        names = {"zip": "{}.zip", "tar with classes": "{}.tar", "folder": "{}"}
        writers: dict[str, Callable[[int], object]] = {
            name: lambda i, form=form: write_samples(batches, Path(folder) / form.format(i), labels)
            for name, form in names.items()
        }
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in writers}
        for number in range(options.rounds):
            for name, write in writers.items():
                start, processor = time.perf_counter(), time.process_time()
                write(number)
                taken[name].append((time.perf_counter() - start, time.process_time() - processor))
    rows = []
    print(f"{options.count} images of {options.side}x{options.side}, {options.rounds} rounds\n")
    print(
        "| | images / s | images / processor second | seconds, min - max | processor seconds |\n|---|---|---|---|---|"
    )
    for name, blocks in taken.items():
        walls, processors = zip(*blocks, strict=True)
        wall, processor = statistics.median(walls), statistics.median(processors)
        rows.append({"name": name, "seconds": walls, "processor_seconds": processors, "images": options.count})
        rates = f"{options.count / wall:.0f} | {options.count / processor:.0f}"
        print(f"| {name} | {rates} | {min(walls):.2f} - {max(walls):.2f} | {processor:.2f} |")
    write_json(options.out, rows)
    return rows


if __name__ == "__main__":
    main()
