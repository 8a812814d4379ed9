"""Give every reader thousands of damaged and hostile files: what it does, how long and how much memory it takes.

python benchmarks/fuzz.py [--reader NAME ...] [--inputs 20000] [--seed 0] [--keep-going]

Allowed are a result and one of the library's errors in one line: no traceback, no code that runs, no file outside of
the folder, at most 10 s of CPU time, and at most twice the file and 500 MiB of memory. Anything else stops it, with the
file kept, or is counted and printed with --keep-going.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from fuzz import READERS
from fuzz.harness import Fuzzer, outcomes


def main() -> None:
    """Print a line of outcomes for each reader."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--reader", nargs="*", default=list(READERS), choices=list(READERS))
    parser.add_argument("--inputs", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep-going", action="store_true", help="count faults instead of stopping at the first")
    options = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    for name in options.reader:
        print(f"{name}: {_run(READERS[name], options.inputs, options.seed, options.keep_going)}", flush=True)


def _run(fuzzer: Fuzzer, inputs: int, seed: int, keep_going: bool) -> str:
    counts: Counter[str] = Counter()
    slowest, done, start = 0.0, 0, time.perf_counter()
    while done < inputs:
        folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
        last = time.process_time()
        try:
            for outcome in outcomes(fuzzer, inputs - done, seed + done, folder):
                slowest, last, done = max(slowest, time.process_time() - last), time.process_time(), done + 1
                counts[outcome] += 1
        except BaseException as error:
            if not keep_going or isinstance(error, KeyboardInterrupt):
                raise
            done += 1
            counts[f"FAULT {type(error).__name__}"] += 1
            print(f"  {type(error).__name__}: {str(error)[:300]} {getattr(error, '__notes__', '')}", flush=True)
            continue  # with the folder kept
        shutil.rmtree(folder, ignore_errors=True)
    table = ", ".join(f"{count} {what}" for what, count in counts.most_common())
    return f"{inputs} inputs: {table}; slowest {slowest:.2f} s, {time.perf_counter() - start:.0f} s in all"


if __name__ == "__main__":
    main()
