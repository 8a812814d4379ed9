"""Runs of a command that something happens to, each in a folder of its own, compared with the undisturbed one."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from multiprocessing import get_context
from pathlib import Path

import realuid.api
import realuid.recipes.sweep  # noqa: F401  # what commands import on their way, once for all of their processes
from benchmarks.kill_and_resume import NOTHING, differences
from realuid.cli import main as cli

Process = get_context("fork").Process

#: Points and a small network: a run takes a second or two, of which it writes for a good part.
RECIPE = """
data: {source: "toy:moons", conditional: false}
network: {architecture: mlp, channels: [32], blocks: 1}
teacher: {updates: 60, batch: 16, ema: [0.9, 0.99], device: cpu, log_every: 3, save_every: 7, evaluate_every: 25,
  quick_samples: 64, steps: 2}
distill: {updates: 40, batch: 16, alpha: 0.92, beta: 0.94, ema: [0.9, 0.99], device: cpu, log_every: 3, save_every: 7,
  evaluate_every: 15, quick_samples: 64}
evaluate: {samples: 64, seeds: 1}
sweep: {alpha: [0.92, 1.0], ratio: [1.0]}
"""
COMMANDS = ("train", "distill", "sweep")
#: Seconds within which a process has to end whose partner is gone.
PATIENCE = 60


class Runs:
    """Runs of one command, each in a folder of its own.

    Args:
        command: of `COMMANDS`.
        work: holds recipe.yaml and, for students, teacher/.
    """

    def __init__(self, command: str, work: Path):
        self.command, self.work = command, work
        self.more: Sequence[str] = ()  # options of the command, but to resume it
        self.counts: Counter[str] = Counter()
        self.wrong: dict[str, list[str]] = {}
        self.whole, self.length = work / f"{command}-whole", 0.0
        shutil.rmtree(self.whole, ignore_errors=True)
        begin = time.perf_counter()
        if code := self.finish(self.start(self.whole)):
            raise SystemExit(f"the undisturbed {command} ended with exit code {code}: {self.said()}")
        self.length = time.perf_counter() - begin

    def start(self, out: Path, resume: bool = False, rank: int = 0, port: int = 0) -> Process:
        """The command line in a process of its own, on one thread; of two processes where there is a port."""
        words = [self.command, str(self.work / "recipe.yaml"), "--out", str(out)]
        words += ["--teacher", str(self.work / "train-whole"), "--trust-teacher"] if self.command != "train" else []
        words += ["--resume"] if resume else self.more
        process = Process(target=_command_line, args=(words, self._errors(rank), rank, port))
        process.start()
        return process

    def _errors(self, rank: int = 0) -> Path:
        return self.work / f"errors-{rank}.txt"

    def said(self, rank: int = 0) -> str:
        """What the last command printed to stderr."""
        return self._errors(rank).read_text()

    def finish(self, process: Process) -> int:
        """The exit code of a command, once it has ended."""
        process.join()
        return process.exitcode or 0

    def resume(self, out: Path) -> None:
        """Resume a run to its end, or start it anew where there is nothing to resume; and compare it."""
        code = self.finish(self.start(out, resume=True))
        if code == 2 and (NOTHING in self.said() or not out.exists() or not any(out.iterdir())):
            self.counts["started anew"] += 1
            code = self.finish(self.start(out))
        self.check(out, f"exit code {code}: {self.said()}" if code else "")

    def check(self, out: Path, failed: str = "") -> None:
        """Note what is wrong with a finished run."""
        self.counts["runs"] += 1
        names = [failed] if failed else unlike(self.whole, out)
        if names:
            self.wrong[out.name] = names


def struck(process: Process, after: float, blow: signal.Signals = signal.SIGKILL) -> bool:
    """Whether a signal met a process before its end."""
    process.join(after)
    if process.is_alive():
        os.kill(process.pid or 0, blow)
    if blow == signal.SIGSTOP:
        return process.is_alive()
    process.join()
    return process.exitcode == -blow


def unlike(a: Path, b: Path) -> list[str]:
    """Files of two finished runs or sweeps that differ; times of day, speeds, plots and locks aside."""
    names = [n for n in differences(a, b) if not n.endswith((".html", ".lock", ".log")) and "tfevents" not in n]
    return [n for n in names if not n.endswith("result.json") or _timeless(a / n) != _timeless(b / n)]


def _timeless(path: Path) -> dict | None:
    return {**json.loads(path.read_text()), "seconds": 0} if path.is_file() else None


def _command_line(words: list[str], errors: Path, rank: int, port: int) -> None:
    if port:
        here = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        os.environ |= {"WORLD_SIZE": "2", "RANK": str(rank), "LOCAL_RANK": str(rank), **here}
    with errors.open("w") as file, Path(os.devnull).open("w") as nowhere:
        os.dup2(file.fileno(), sys.stderr.fileno())
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
        sys.exit(cli.main(words))
