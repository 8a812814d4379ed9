"""Give every reader thousands of damaged and hostile files: what it does, how long and how much memory it takes.

python benchmarks/fuzz.py [--reader NAME ...] [--inputs 20000] [--seed 0] [--keep-going]

Allowed are a result and one of the library's errors in one line: no traceback, no code that runs, no file outside of
the folder, at most 10 s of CPU time, and at most twice the file and 500 MiB of memory. Readers run in processes of
their own, so that a file that ends the process is seen. Anything else stops it, with the file kept, or is counted and
printed with --keep-going.
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
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from fuzz import READERS
from fuzz.harness import Fuzzer, outcomes

#: Inputs of one process: what a library keeps of every file does not add up, and one that crashes costs few.
_TURN = 10_000

Process, Pipe = get_context("fork").Process, get_context("fork").Pipe


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
        receiver, sender = Pipe(duplex=False)
        worker = Process(target=_work, args=(fuzzer, min(inputs - done, _TURN), seed + done, folder, sender))
        worker.start()
        sender.close()
        fault = ""
        with suppress(EOFError):
            while True:
                outcome, seconds, fault = receiver.recv()
                slowest, done = max(slowest, seconds), done + 1
                counts[outcome] += 1
                if done % 1000 == 0:  # of a run that is ended, this is what is known
                    print(f"  {done:,} inputs so far: {_table(counts)}", file=sys.stderr, flush=True)
        worker.join()
        if worker.exitcode and not fault:
            fault, done = f"the process ended with {worker.exitcode} after input {done} of seed {seed}", done + 1
            counts["FAULT end of the process"] += 1
        if not fault:
            shutil.rmtree(folder, ignore_errors=True)
            continue
        print(f"  {fault}, in {folder}", flush=True)  # which is kept
        if not keep_going:
            raise SystemExit(1)
    return f"{inputs} inputs: {_table(counts)}; slowest {slowest:.2f} s, {time.perf_counter() - start:.0f} s in all"


def _table(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {what}" for what, count in counts.most_common())


def _work(fuzzer: Fuzzer, inputs: int, seed: int, folder: Path, sender: Connection) -> None:
    """Send (outcome, CPU seconds, "") of every input; of the first fault its kind and text, and end."""
    last = time.process_time()
    try:
        for outcome in outcomes(fuzzer, inputs, seed, folder):
            sender.send((outcome, time.process_time() - last, ""))
            last = time.process_time()
    except BaseException as error:
        text = f"{type(error).__name__}: {str(error)[:300]} {getattr(error, '__notes__', '')}"
        sender.send((f"FAULT {type(error).__name__}", time.process_time() - last, text))


if __name__ == "__main__":
    main()
