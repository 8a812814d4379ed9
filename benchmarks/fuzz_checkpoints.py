"""Load thousands of damaged checkpoints: how many are refused, how many still load, and how long the slowest took.

python benchmarks/fuzz_checkpoints.py [count] [seed] [part of a kind's name]

Stops with the file kept if loading ever does anything but load or raise one of the library's errors. Memory is limited,
so that a damaged number that asks for too much shows.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import torch
from diffusers.utils import logging

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from fuzzing import fuzz_diffusers, fuzz_folders, fuzz_pickles, fuzz_programs

MEMORY = 16 << 30


def main(count: int = 10_000, seed: int = 0, only: str = "") -> None:
    """Print a table of outcomes."""
    torch.set_num_threads(1)
    logging.set_verbosity(logging.CRITICAL)  # diffusers tells of every damaged file
    logging.disable_progress_bar()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    kinds = {
        "network pickles": fuzz_pickles,
        "model folders": fuzz_folders,
        "pipelines of diffusers": fuzz_diffusers,
        "torch.export programs": fuzz_programs,
    }
    for name, fuzz in kinds.items():
        if only not in name:
            continue
        folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
        outcomes: Counter[str] = Counter()
        slowest, start = 0.0, time.perf_counter()
        for outcome in fuzz(folder, count, seed):
            now = time.perf_counter()
            slowest, start = max(slowest, now - start), now
            outcomes[outcome] += 1
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        table = ", ".join(f"{n} {what}" for what, n in outcomes.most_common())
        print(f"{count} damaged {name}: {table}; slowest {slowest:.2f} s, peak memory {memory:.2f} GiB", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]), *sys.argv[3:])
