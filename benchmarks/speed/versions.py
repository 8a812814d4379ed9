"""Does an update cost what it did at another commit? Seconds and peak memory of both, measured in turns.

    python -m benchmarks.speed.versions --against 547dd6d [--batch 16] [--rounds 5] [--out versions.json]

One block is five updates of the fake model and one of the student, on the network and at the settings of the authors'
CIFAR-10 run (`benchmarks.speed.ours`), in a process of each version; blocks alternate, the first one of each is a
warm-up. Figures: medians of processor seconds (one thread) and their ratio by round, so that what disturbs a round
disturbs both sides of its ratio; peak resident memory. Exit code 1: more than 2% slower, or more than 2% more memory.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.speed.worker import ROOT, Worker

TOLERANCE = 1.02


def checkout(commit: str, folder: Path) -> Path:
    """The library and benchmarks of a commit, in a folder."""
    folder.mkdir()
    packed = subprocess.run(
        ["git", "-C", ROOT, "archive", commit, "src", "benchmarks"], check=True, capture_output=True
    )
    subprocess.run(["tar", "-x", "-C", folder], check=True, input=packed.stdout)
    return folder


def compare(then: Worker, now: Worker, rounds: int) -> dict[str, Any]:
    """Let both compute a block a round and say what it took them, without the first one."""
    for _ in range(rounds + 1):
        for worker in (then, now):
            worker.block()
    seconds = [[answer["processor_seconds"] for answer in worker.answers[1:]] for worker in (then, now)]
    peaks = [max(answer["peak_bytes"] for answer in worker.answers) for worker in (then, now)]
    return {
        "seconds": [statistics.median(s) for s in seconds],
        "blocks": seconds,
        "seconds ratio": statistics.median(b / a for a, b in zip(*seconds, strict=True)),
        "peak_bytes": peaks,
        "memory ratio": peaks[1] / peaks[0],
    }


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", metavar="COMMIT", required=True)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--channels", type=int, nargs="+", help="a network of this size instead of the authors'")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    settings: dict[str, Any] = {"batch": options.batch, "precision": "fp32"}
    with tempfile.TemporaryDirectory() as name:
        tree, checkpoint = checkout(options.against, Path(name) / "tree"), str(Path(name) / "teacher.pt")
        if options.channels:
            settings |= {"channels": options.channels}
        else:
            maker = Worker("maker", "benchmarks.speed.peer", ["make", checkpoint], 1)
            if maker._process.wait():
                sys.exit("the authors' network needs torchcfm: pip install --no-deps torchcfm")
        arguments = [checkpoint, json.dumps(settings)]
        workers = [
            Worker(n, "benchmarks.speed.ours", arguments, 1, root) for n, root in (("then", tree), ("now", ROOT))
        ]
        try:
            result = compare(*workers, options.rounds)
        finally:
            for worker in workers:
                worker.quit()
    print(json.dumps(result, indent=2))
    if options.out:
        options.out.write_text(json.dumps(result, indent=2))
    return int(max(result["seconds ratio"], result["memory ratio"]) > TOLERANCE)


if __name__ == "__main__":
    sys.exit(main())
