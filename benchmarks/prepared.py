"""Preparing captioned images without having them in memory: peak memory, what kills cost, and reading against training.

    python -m benchmarks.prepared --count 300000 --kills 10 --out OUT

makes that many captioned images of 64x64 in a zip (3,000 different ones, 20,000 captions), prepares them once in one
go, and measures the memory and seconds that a training run takes to read a batch and to learn from it (not with
--batch 0). With --kills it prepares them once more, and trains a small teacher on them, with processes that are killed
that often, each at a random moment after it has written something, and compares every file with those of what was not
disturbed. A folder OUT/whole that is there already is taken as prepared in one go.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.kill_and_resume import Process, Runs, command_line, differences

#: Number of different pictures; each of them is many times in the zip, under other names and captions.
DISTINCT = 3000
SHAPES, SIZES = ("circle", "square", "cross", "ring"), ("tiny", "small", "large", "huge")


def caption(number: int) -> str:
    """One of 20,000 captions."""
    return f"a {SIZES[number % 4]} {SHAPES[number // 4 % 4]} of tint {number // 16 % 50} on ground {number // 800 % 25}"


def picture(number: int) -> bytes:
    """A gradient with noise, as PNG."""
    rng = np.random.default_rng(number)
    ramp = np.linspace(0, 200, 64, dtype=np.float32)[:, None, None] * rng.random((1, 1, 3), np.float32)
    pixels = (ramp + rng.integers(0, 40, (64, 64, 1))).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def write_images(path: Path, count: int) -> None:
    """A zip of images and metadata.jsonl."""
    with zipfile.ZipFile(path, "w") as archive:
        lines, pictures = [], [picture(i) for i in range(DISTINCT)]
        for i in range(count):
            archive.writestr(f"{i // 1000:04d}/{i:07d}.png", pictures[i % DISTINCT])
            lines.append(json.dumps({"file_name": f"{i // 1000:04d}/{i:07d}.png", "text": caption(i)}))
        archive.writestr("metadata.jsonl", "\n".join(lines))


def words(source: Path, out: Path) -> list[str]:
    """The command that prepares them."""
    return ["prepare", str(source), str(out), "--prompt-encoder", "words", "--device", "cpu"]


def command(source: Path, out: Path) -> list[str]:
    """The same in a Python of its own."""
    call = "import sys; from realuid.cli.main import main; sys.exit(main(sys.argv[1:]))"
    return [sys.executable, "-c", call, *words(source, out)]


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file."""
    found = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        with path.open("rb") as file:
            found[str(path.relative_to(folder))] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def killed(source: Path, out: Path, kills: int, seconds: float) -> int:
    """Prepare with processes that are killed at random moments after their first batch; returns how many were.

    Args:
        source, out: what is prepared, and where.
        kills: wanted.
        seconds: that the batches of all images take.
    """
    moments, done, work = random.Random(0), 0, out.with_name(f"{out.name}.unfinished")
    while not out.exists():
        before = written(work)
        process = Process(target=command_line, args=(words(source, out), out.with_name("errors.txt")))
        process.start()
        while done < kills and process.is_alive() and written(work) == before:
            time.sleep(0.01)
        process.join(moments.uniform(0, 1.5) * seconds / (kills + 1) if done < kills else None)
        if process.is_alive():
            process.kill()
            done += 1
        process.join()
        if process.exitcode not in (0, -signal.SIGKILL):
            raise SystemExit(out.with_name("errors.txt").read_text())
        print(f"prepare: {done} kills, {written(work)} images and prompts written", flush=True)
    return done


def written(work: Path) -> int:
    """Number of images and of prompts that an unfinished folder holds."""
    found = 0
    for folder in (work, work / "prompts"):
        with contextlib.suppress(OSError, ValueError):
            found += json.loads((folder / "progress.json").read_text())["position"]
        found += (folder / "state.json").is_file()
    return found


#: A teacher that learns from 8 images in a fraction of a second.
RECIPE = """
data: {{source: {source}}}
network: {{channels: [8, 8], blocks: 1, attention_at: []}}
teacher: {{updates: 44, batch: 8, lr: 1.0e-3, flip: true, ema: [0.9], device: cpu, log_every: 3, save_every: 2,
  evaluate_every: 0, sample_every: 0, label_dropout: 0.1}}
"""


def trained(whole: Path, work: Path, kills: int) -> dict[str, object]:
    """Train on prepared images, once in one go and once with kills; returns kills and the files that differ."""
    work.mkdir()
    (work / "recipe.yaml").write_text(RECIPE.format(source=whole))
    runs = Runs("teacher", work, random.Random(0))
    alone = runs.whole(work / "teacher")
    (torn,) = runs.chain(kills)
    return {"training_kills": dict(runs.counts), "training_files_that_differ": differences(alone, torn)}


MEASURE = """
import json, resource, sys, time
import torch
from realuid.data import load_dataset
from realuid.models import MatchingModel, NetworkConfig, build_network
from realuid.on_data import adopt_null
from realuid.paths import LinearPath
from realuid.training.batches import Batches, DrawOptions
from realuid.training.draws import micro_batches
from realuid.training.updates import teacher_loss
torch.set_num_threads(1)
data, batch, micro_batch, steps = load_dataset(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), 60
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
opened = peak()
network = build_network(NetworkConfig(channels=(16, 32, 32), blocks=1, attention_at=(16,)), data.shape, text=64)
model = MatchingModel(network, LinearPath())
adopt_null(model, data)
batches = Batches(data, model.path, 0, conditions=model.conditions, options=DrawOptions(label_dropout=0.1))
optimizer = torch.optim.Adam(model.parameters())
def read(first, count):
    start = time.perf_counter()
    for step in range(first, first + count):
        batches.real("teacher", step, batch)
    return (time.perf_counter() - start) / count
def trained(first, count):
    start = time.perf_counter()
    for step in range(first, first + count):
        draw = batches.real("teacher", step, batch)
        for part in micro_batches(draw, batch // micro_batch):
            teacher_loss(model, model.path, model.prediction, part, batch).backward()
        optimizer.step(); optimizer.zero_grad()
    return (time.perf_counter() - start) / count
read(0, 5)
seconds = {"read": read(5, steps)}
peaks = {"opened": opened, "read": peak()}
seconds["trained"] = trained(5 + steps, 6)
sizes = {"batch": batch, "micro_batch": micro_batch}
print(json.dumps({"seconds_of_a_batch": seconds, **sizes, "peak_bytes": peaks | {"trained": peak()}}))
"""


def main() -> None:
    """Run it, and print what was measured as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=300_000)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=200, help="over which the kills of prepare are spread")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--micro-batch", type=int, help="the batch, if it is not said")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    source, whole, torn = (options.out / name for name in ("images.zip", "whole", "killed"))
    if not source.exists():
        write_images(source, options.count)
    for folder in (torn, torn.with_name("killed.unfinished"), options.out / "runs"):
        shutil.rmtree(folder, ignore_errors=True)
    found: dict[str, object] = {"count": options.count}
    if not whole.exists():
        start = time.perf_counter()
        subprocess.run(command(source, whole), check=True)
        found["prepare_seconds"] = time.perf_counter() - start
        found["prepare_peak_bytes"] = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
        print(json.dumps(found), flush=True)
    sizes = [str(options.batch), str(options.micro_batch or options.batch)]
    if options.batch:
        command_of = [sys.executable, "-c", MEASURE, str(whole), *sizes]
        done = subprocess.run(command_of, capture_output=True, text=True, check=True)
        found["training"] = json.loads(done.stdout.splitlines()[-1])
        print(json.dumps(found), flush=True)
    if not options.kills:
        return
    found |= trained(whole, options.out / "runs", options.kills)
    print(json.dumps(found), flush=True)
    found["kills"] = killed(source, torn, options.kills, options.seconds)
    found["same_bits"] = digests(whole) == digests(torn)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
