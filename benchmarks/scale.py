"""What do more processes bring? The same distillation with one process and with several, one thread each.

    python -m benchmarks.scale [--processes 2] [--channels 32 64] [--side 32] [--batch 32] [--updates 4] [--rounds 3]

Real runs, started as `python` and as `torchrun`, in turns; seconds of an update are its images over the
`images_per_second` of their metrics.jsonl, the first two updates of a run left out; numbers of processes and threads
are those of machine.json. Medians over all updates of all rounds. Efficiency is the speed-up per process. The machine
has to be idle and to have as many cores.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from benchmarks.speed.ours import GAME, random_data, teacher_of
from benchmarks.speed.worker import environment
from realuid.files import write_json
from realuid.processes import leave
from realuid.training import DistillConfig, distill_teacher

#: Updates at the start of a run that are not counted.
WARM_UP = 2


def distill(options: argparse.Namespace) -> None:
    """One run, or one process of it."""
    torch.set_num_threads(1)
    settings = {**GAME, "warmup": 0, "batch": options.batch, "updates": WARM_UP + options.updates}
    settings |= {"log_every": 1, "device": "cpu"}
    teacher = teacher_of("", options.channels, options.side)
    distill_teacher(teacher, random_data(options.side), DistillConfig(**settings), options.folder)
    leave()


def seconds_per_update(options: argparse.Namespace, processes: int) -> list[float]:
    """Start a run and read its log.

    Raises:
        RuntimeError: if it failed, or had another number of processes or threads.
    """
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    words = [
        *(launch if processes > 1 else []),
        "-m",
        "benchmarks.scale",
        "--side",
        options.side,
        "--batch",
        options.batch,
    ]
    words += ["--updates", options.updates, "--channels", *options.channels]
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        command = [sys.executable, *map(str, words), "--folder", str(run)]
        subprocess.run(command, check=True, env=environment(1))
        machine = json.loads((run / "machine.json").read_text())
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    if (machine["processes"], machine["threads"]) != (processes, 1):
        raise RuntimeError(f"asked for {processes} processes of one thread, but the run says {machine}")
    images = lines[0]["images"]  # of one update
    return [images / line["images_per_second"] for line in lines[WARM_UP:]]


def main(arguments: list[str] | None = None) -> dict[str, Any] | None:
    """Print and write one JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--channels", type=int, nargs="+", default=[32, 64])
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--updates", type=int, default=4, help="counted, a run")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("runs/scale.json"))
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.folder:
        distill(options)
        return None
    seconds: dict[int, list[float]] = {1: [], options.processes: []}
    for _ in range(options.rounds):
        for processes, taken in seconds.items():
            taken += seconds_per_update(options, processes)
    medians = {processes: statistics.median(taken) for processes, taken in seconds.items()}
    speed_up = medians[1] / medians[options.processes]
    result = {
        "seconds_per_update": medians,
        "speed_up": speed_up,
        "efficiency": speed_up / options.processes,
        "all": seconds,
        "load": os.getloadavg()[0],
    }
    print(json.dumps(result, indent=2))
    write_json(options.out, result)
    return result


if __name__ == "__main__":
    main()
