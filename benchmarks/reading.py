"""How fast is data read from disk, and how much memory does it take?

    python benchmarks/reading.py [--count 300000] [--side 32] [--batch 256] [--steps 200] [--out runs/reading.json]

The same images of noise in memory, as arrays on disk (`realuid prepare`) and as PNG files in Arrow (`save_to_disk`),
each read by a process of its own: images a second by random batches in one thread (`data.values[index]`), seconds of a
draw of real data (`Batches.real`, whose images worker threads read ahead) that follows on a pause as long as `--pause`
says, in which a network would work, and the peak of resident memory (VmHWM, so only on Linux). "Cold": the system was
asked to forget the file first.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from realuid.data import Column, Dataset, load_dataset
from realuid.data.arrow_writer import write_arrow
from realuid.files import write_json
from realuid.paths import make_path
from realuid.training.batches import Batches


class Noise(Column):
    """Images that are made when they are asked for, so that any number of them can be written."""

    dtype, fingerprint = torch.uint8, "noise"

    def __init__(self, count: int, side: int):
        self.shape = (count, 3, side, side)

    def read(self, index: Tensor) -> Tensor:
        random = torch.Generator().manual_seed(int(index.sum()))
        return torch.randint(0, 256, (len(index), *self.shape[1:]), generator=random, dtype=torch.uint8)


def write_encoded(count: int, side: int, out: Path) -> None:
    """PNG files in Arrow, as people save them with `datasets`."""
    import datasets

    def rows() -> Iterator[dict]:
        for pixels in Noise(count, side)[:]:
            buffer = io.BytesIO()
            Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(buffer, "PNG", compress_level=1)
            yield {"image": {"bytes": buffer.getvalue(), "path": None}}

    features = datasets.Features({"image": datasets.Image()})
    datasets.Dataset.from_list(list(rows()), features=features).save_to_disk(str(out))


def forget(folder: Path) -> None:
    """Ask the system to forget what it has in memory of files."""
    for path in folder.rglob("*.arrow"):
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def peak() -> float:
    """Peak of resident memory so far, in GiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 2**20


def measure(options: argparse.Namespace) -> dict[str, float]:
    """What one process measures of one kind of data; `Batches` goes through it as a run does."""
    torch.set_num_threads(1)
    data = load_dataset(options.read)
    if options.into_memory:
        data = Dataset(torch.cat([data.values[i : i + 1000] for i in range(0, len(data), 1000)]))
    random, start = torch.Generator().manual_seed(0), time.perf_counter()
    for _ in range(options.steps):
        data.values[torch.randint(len(data), (options.batch,), generator=random)]
    rate = options.steps * options.batch / (time.perf_counter() - start)
    batches, seconds = Batches(data, make_path("linear"), 0, flip=True), []
    for step in range(options.steps):
        start = time.perf_counter()
        batches.real("real", step, options.batch)
        seconds.append(time.perf_counter() - start)
        time.sleep(options.pause)
    return {"images_per_second": rate, "draw": statistics.median(seconds[2:]), "peak_gib": peak()}


def main(arguments: list[str] | None = None) -> list[dict]:
    """Write the data, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=300_000)
    parser.add_argument("--encoded", type=int, default=20_000, help="images of the set of PNG files")
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--pause", type=float, default=0.05, help="seconds between two draws")
    parser.add_argument("--out", type=Path, default=Path("runs/reading.json"))
    parser.add_argument("--read", help=argparse.SUPPRESS)
    parser.add_argument("--into-memory", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.read:
        print(json.dumps(measure(options)))
        return []
    rows = []
    with tempfile.TemporaryDirectory() as name:
        arrays, encoded = Path(name) / "arrays", Path(name) / "encoded"
        start = time.perf_counter()
        write_arrow(Dataset(Noise(options.count, options.side), name="noise"), arrays)
        written = options.count / (time.perf_counter() - start)
        write_encoded(options.encoded, options.side, encoded)
        kinds = {"arrays on disk, cold": arrays, "arrays on disk": arrays, "PNG on disk": encoded, "memory": arrays}
        for kind, folder in kinds.items():
            if "cold" in kind:
                forget(folder)
            shared = [f"--{key}={getattr(options, key)}" for key in ("batch", "steps", "pause")]
            words = ["--read", str(folder), *shared, *(["--into-memory"] if kind == "memory" else [])]
            done = subprocess.run([sys.executable, __file__, *words], capture_output=True, text=True, check=True)
            rows.append({"name": kind, **json.loads(done.stdout.splitlines()[-1])})
    write_json(options.out, {"written_per_second": written, "rows": rows})
    print(f"{options.count} images of {options.side}x{options.side}, {written:,.0f} a second written\n")
    print("| data | images a second, one thread | a draw, ms | peak memory, GiB |\n|---|---|---|---|")
    for row in rows:
        print(f"| {row['name']} | {row['images_per_second']:,.0f} | {1000 * row['draw']:.1f} | {row['peak_gib']:.2f} |")
    return rows


if __name__ == "__main__":
    main()
