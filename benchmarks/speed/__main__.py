"""One command, one table: what an update costs, ours against the authors' published code and against the machine.

    python -m benchmarks.speed --authors REPOSITORY [--batch 16] [--rounds 3] [--threads 1] [--out speed.json]
    python -m benchmarks.speed --gpu --authors REPOSITORY       # batch 256, everything within ten minutes

(a) seconds and (b) peak memory of five fake updates and one of the generator: the authors' `train_distil.py` (a
checkout, run unmodified; left out without --authors; needs `pip install --no-deps torchcfm`), ours, and ours with one
lever changed; (c) FLOP/s of our update over those of its largest convolution alone; (d) cost against batch, side and
width; (e) one-step sampling against the bare network, against the teacher at 50 Euler steps and against diffusers' DDIM
pipeline at 50 with the same weights. Time to a given FD is `benchmarks/time_to_fd.py`.

Contestants take turns, one block each a round; the first round is a warm-up; figures are medians with the spread around
them, on a CPU of processor seconds (use one thread: then other processes do not count). The JSON has every block. What
does not fit into --minutes is left out and said so; only the first two contestants have their first block in any case.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.speed.ours import GAME, random_data, teacher_of
from benchmarks.speed.peer import PERIOD
from benchmarks.speed.roofline import clock, flops_of_update, peak_rate
from benchmarks.speed.sampling import sampling_rates
from benchmarks.speed.tables import show
from benchmarks.speed.worker import Worker
from realuid.files import write_json
from realuid.training import DistillConfig, DistillTask
from realuid.training.accelerate import make_accelerator

#: Ours with one lever changed.
LEVERS: dict[str, dict[str, Any]] = {
    "ours": {},
    "ours, bf16": {"precision": "bf16"},
    "contiguous": {"channels_last": False},
    "contiguous, bf16": {"channels_last": False, "precision": "bf16"},
    "equal batches": {"real_share": 1.0},
    "Adam tensor by tensor": {"fused": False},
    "recomputing": {"activation_checkpointing": True},
    "compiled": {"compile": True},
    "compiled, bf16": {"compile": True, "precision": "bf16"},
}


def usual_levers() -> list[str]:
    """All of them; on a CPU without those that compile, which takes minutes there."""
    return [name for name, lever in LEVERS.items() if torch.cuda.is_available() or not lever.get("compile")]


class Deadline:
    """Time that is left."""

    def __init__(self, minutes: float):
        self.end = time.monotonic() + 60 * minutes

    def allows(self, seconds: float) -> bool:
        """Whether something that takes so long still fits."""
        return time.monotonic() + seconds < self.end


def seconds_of(answer: dict[str, Any]) -> float:
    """Of a block: of the wall with an accelerator, else of the processor."""
    return answer["seconds" if torch.cuda.is_available() else "processor_seconds"]


def contest(workers: list[Worker], rounds: int, deadline: Deadline) -> list[dict[str, Any]]:
    """Let workers take turns, the first two once in any case, and say what each of them took.

    Returns:
        rows: the seconds of every block, of which the first one is a warm-up; how many rounds are left without it and
        their median, None where there are none.
    """
    longest = 0.0
    for number in range(rounds + 1):
        for place, worker in enumerate(workers):
            guess = worker.answers[-1]["seconds"] if worker.answers else longest
            if deadline.allows(guess) or (number == 0 and place < 2):
                longest = max(longest, worker.block()["seconds"])
    rows = []
    for worker in workers:
        blocks, counted = [seconds_of(a) for a in worker.answers], worker.answers[1:]
        networks = [a["networks"] / a["processor_seconds"] for a in counted if a.get("networks")]
        rows.append(
            {
                "name": worker.name,
                "blocks": blocks,
                "rounds": len(counted),
                "seconds": statistics.median(blocks[1:]) if counted else None,
                "peak_bytes": max((a["peak_bytes"] for a in worker.answers), default=None),
                "parts": worker.answers[0].get("parts") if blocks else None,
                "outside the networks": 1 - statistics.median(networks) if networks else None,
            }
        )
    return rows


def compare(options: argparse.Namespace, checkpoint: str, deadline: Deadline) -> list[dict[str, Any]]:
    """Sections (a) and (b)."""
    workers = []
    if options.authors:
        arguments = [str(options.authors), checkpoint, str(options.batch)]
        workers.append(Worker("the authors' code", "benchmarks.speed.peer", arguments, options.threads))
    for name in options.levers:
        settings = {"batch": options.batch, "precision": "fp32"} | options.size | LEVERS[name]
        workers.append(Worker(name, "benchmarks.speed.ours", [checkpoint, json.dumps(settings)], options.threads))
    try:
        rows = contest(workers, options.rounds, deadline)
    finally:
        for worker in workers:
            worker.quit()
    theirs = rows[0] if options.authors else {"seconds": None}
    for row in rows:
        taken, both = row["seconds"], row["seconds"] and theirs["seconds"]
        row["images_per_second"] = PERIOD * options.batch / taken if taken else None
        row["times the authors'"] = theirs["seconds"] / taken if both else None
        row["memory / the authors'"] = row["peak_bytes"] / theirs["peak_bytes"] if both else None
    return rows


def task_of(checkpoint: str, settings: dict[str, Any]) -> DistillTask:
    """Our distillation in this process."""
    settings = dict(settings)
    channels, side = settings.pop("channels", None), settings.pop("side", 32)
    config = DistillConfig(**{**GAME, "updates": 10**6, **settings})
    return DistillTask(teacher_of(checkpoint, channels, side), random_data(side), config, make_accelerator(config))


def roofline(
    options: argparse.Namespace, checkpoint: str, rows: list[dict[str, Any]], deadline: Deadline
) -> list[dict[str, Any]]:
    """Section (c): for fp32 and bf16, as far as (a) measured them and an update more, with its convolution, fits."""
    dtypes = {"ours": torch.float32, "ours, bf16": torch.bfloat16}
    measured = {r["name"]: r["seconds"] for r in rows if r["name"] in dtypes and r["seconds"]}
    if not measured or not deadline.allows(2 * max(measured.values())):
        return []
    task = task_of(checkpoint, {"batch": options.batch, "precision": "fp32"} | options.size)
    flops, found = flops_of_update(task), []
    for name, seconds in measured.items():
        if deadline.allows(seconds):  # far more than the convolution takes
            peak, reached = peak_rate(task.teacher, options.batch, dtypes[name]), flops / seconds
            found.append({"name": name, "flops": flops, "flop/s": reached, "peak": peak, "share": reached / peak})
    return found


def growth(deadline: Deadline, rounds: int = 3) -> list[dict[str, Any]]:
    """Section (d): seconds of an update of a smaller network against batch, side and width, one of them at a time.

    The first update of a size is a warm-up. The median is None where there is no time for all of them.
    """
    base = {"batch": 16, "side": 16, "channels": [32, 64]}
    changes = [{}, {"batch": 4}, {"batch": 64}, {"side": 8}, {"side": 32}, {"side": 64}]
    changes += [{"channels": [16, 32]}, {"channels": [64, 128]}]
    rows: list[dict[str, Any]] = []
    for size in (base | change for change in changes):
        taken: list[float] = []
        guess = max(rows[0]["blocks"], default=0.0) if rows else 0.0
        if deadline.allows((rounds + 1) * guess):
            task = task_of("-", size)
            for number in range(rounds + 1):
                if deadline.allows((rounds + 1 - number) * taken[-1] if taken else 0):
                    start = clock(task.teacher.device)
                    task.update(number)
                    taken.append(clock(task.teacher.device) - start)
        rows.append({**size, "blocks": taken, "seconds": statistics.median(taken[1:]) if len(taken) > rounds else None})
    return rows


def sampling(options: argparse.Namespace, checkpoint: str, deadline: Deadline) -> dict[str, float | None]:
    """Section (e)."""
    teacher = teacher_of(checkpoint, options.size.get("channels"), options.size.get("side", 32))
    device = make_accelerator(DistillConfig()).device
    return sampling_rates(teacher.to(device).eval(), options.batch, deadline.allows)


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.speed", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--authors", type=Path, help="checkout of the authors' repository")
    parser.add_argument("--gpu", action="store_true", help="batch 256, ten minutes; refused without a GPU")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--minutes", type=float, help="at most so long (10 with --gpu)")
    parser.add_argument("--levers", nargs="+", choices=LEVERS, default=usual_levers(), help="on a GPU, by default all")
    parser.add_argument("--channels", type=int, nargs="+", help="a network of this size instead of the published one")
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--out", type=Path, default=Path("runs/speed.json"))
    options = parser.parse_args(arguments)
    if options.gpu and not torch.cuda.is_available():
        parser.error("--gpu, but torch sees no CUDA device")
    if options.authors and options.channels:
        parser.error("--channels with --authors: their network has one size. Leave one of them out.")
    options.batch = options.batch or (256 if options.gpu else 16)
    options.size = {"channels": options.channels, "side": options.side} if options.channels else {}
    deadline = Deadline(options.minutes or (9 if options.gpu else 60))
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = str(Path(folder) / "teacher.pt")
        if not options.channels:
            maker = Worker("maker", "benchmarks.speed.peer", ["make", checkpoint], options.threads)
            if maker._process.wait():
                sys.exit("the published architecture needs torchcfm: pip install --no-deps torchcfm")
        updates = compare(options, checkpoint, deadline)
        results = {
            "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
            "torch": torch.__version__,
            "threads": options.threads,
            "batch": options.batch,
            "updates": updates,
            "roofline": roofline(options, checkpoint, updates, deadline),
            "growth": growth(deadline),
            "sampling": sampling(options, checkpoint, deadline),
        }
    show(results)
    write_json(options.out, results)
    return results


if __name__ == "__main__":
    main()
