"""Contestants live in processes of their own and take turns: one computes a block while all others wait.

A worker is a Python program that calls `serve` (or `Turns`). It reads `block` or `quit` on its standard input and
answers each block with one line of JSON: the seconds it took by the wall clock and by the processor's (all threads of
the process, not of its children), and the peak of the process's memory so far.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

#: Of the repository: workers are started here, so that `benchmarks.speed` can be imported.
ROOT = Path(__file__).parents[2]


def environment(threads: int, root: Path = ROOT) -> dict[str, str]:
    """Of a process that imports the benchmarks and the library from a checkout and computes in so many threads."""
    path = os.pathsep.join([str(root), str(root / "src"), os.environ.get("PYTHONPATH", "")])
    return os.environ | {"OMP_NUM_THREADS": str(threads), "PYTHONPATH": path}


def synchronise() -> None:
    """Wait for the accelerator, where there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def peak_bytes() -> int:
    """Peak memory of this process: of the accelerator where there is one, else resident."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class Turns:
    """The worker's side of the conversation; whatever else the process prints goes to its standard error."""

    def __init__(self) -> None:
        self._answers = os.fdopen(os.dup(1), "w", buffering=1)
        os.dup2(2, 1)
        self._start = self._processor = 0.0

    def wait(self) -> bool:
        """Until the next block is asked for; False when it is time to go."""
        asked = sys.stdin.readline().strip() == "block"
        synchronise()
        self._start, self._processor = time.perf_counter(), time.process_time()
        return asked

    def done(self, **more: Any) -> None:
        """Say what the block took, and leave the accelerator's memory to the others: all share one card."""
        synchronise()
        took = {
            "seconds": time.perf_counter() - self._start,
            "processor_seconds": time.process_time() - self._processor,
        }
        answer = took | {"peak_bytes": peak_bytes()} | more
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        self._answers.write(json.dumps(answer) + "\n")


def serve(block: Callable[[], dict[str, Any] | None]) -> None:
    """Answer blocks by calling a function until told to quit."""
    turns = Turns()
    while turns.wait():
        turns.done(**(block() or {}))


@dataclass
class Worker:
    """The other side: a running worker and its answers.

    Args:
        name: of the contestant.
        module: what is run, `python -m module`.
        arguments: its command line.
        threads: OMP_NUM_THREADS of the process.
        root: the checkout that it imports.
    """

    name: str
    module: str
    arguments: list[str]
    threads: int
    root: Path = ROOT
    answers: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", self.module, *self.arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(self.threads, self.root),
            cwd=self.root if self.root != ROOT else None,
        )

    def block(self) -> dict[str, Any]:
        """Let it compute one block and return its answer.

        Raises:
            RuntimeError: if the worker ended instead, or cuts its batches into other parts than in its first block.
        """
        assert self._process.stdin and self._process.stdout
        try:
            self._process.stdin.write("block\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise RuntimeError(
                f"the worker '{self.name}' ended with code {self._process.wait()}; see its messages above"
            )
        self.answers.append(json.loads(line))
        first, last = (self.answers[i].get("parts") for i in (0, -1))
        if first != last:
            raise RuntimeError(
                f"the worker '{self.name}' ran out of memory: it cut its batches into {first} parts and now into "
                f"{last}, so its blocks are not of one configuration. Take a smaller --batch or fewer --levers."
            )
        return self.answers[-1]

    def quit(self) -> None:
        """End the process."""
        assert self._process.stdin
        if self._process.poll() is None:
            self._process.stdin.close()
            try:
                self._process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                self._process.kill()
