"""Inject faults into runs, resume them, and compare with the undisturbed run, bit for bit.

    python -m benchmarks.faults [kill] [full] [partner] [frozen] [--kills 20] [--stride 4] [--seed 0]

kill: `train`, `distill` and `sweep` are killed (SIGKILL) at random moments of their whole length, then resumed.
full: the same on a file system that is too small, each time `--stride` pages larger (a tmpfs, which takes root): every
    command has to end with exit code 2 and one line; on a larger one it is resumed.
partner: one of two processes that train together is killed, by turns the first and the second. The other has to end
    within a minute, and both are resumed.
frozen: the same with SIGSTOP; the stopped one goes on once the other has ended, and has to end within a minute, too.

A run with nothing to resume is started anew, and counted. Folders that differ from the undisturbed run in anything but
times of day and speeds are printed, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

import torch

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
COMMANDS, FAULTS = ("train", "distill", "sweep"), ("kill", "full", "partner", "frozen")
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
        words += ["--resume"] if resume else []
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


def unlike(a: Path, b: Path) -> list[str]:
    """Files of two finished runs or sweeps that differ; times of day, speeds, plots and locks aside."""
    names = [n for n in differences(a, b) if not n.endswith((".html", ".lock")) and "tfevents" not in n]
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


# -- killed at random moments --------------------------------------------------------------------------------------


def kill(runs: Runs, kills: int, chance: random.Random) -> None:
    """As many runs as kills, each killed once and resumed."""
    for i in range(kills):
        out = runs.work / f"{runs.command}-kill-{i}"
        while not _struck(runs.start(out), chance.uniform(0, runs.length)):
            shutil.rmtree(out)  # it ended before its moment came
        runs.counts["kills"] += 1
        runs.resume(out)
        shutil.rmtree(out)


def _struck(process: Process, after: float, blow: signal.Signals = signal.SIGKILL) -> bool:
    """Whether a signal met a process before its end."""
    process.join(after)
    if process.is_alive():
        os.kill(process.pid or 0, blow)
    if blow == signal.SIGSTOP:
        return process.is_alive()
    process.join()
    return process.exitcode == -blow


# -- a file system that is full ------------------------------------------------------------------------------------


@contextmanager
def small_disk(folder: Path, pages: int) -> Iterator[None]:
    """A file system of so many pages of 4 KiB, mounted on a folder."""
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={4 * pages}k", "faults", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def full(runs: Runs, stride: int) -> None:
    """Runs on file systems that are a page larger each time, until one is large enough; each is resumed."""
    disk = runs.work / "disk"
    for pages in range(1, 100_000, stride):
        with small_disk(disk, pages):
            out = disk / f"{runs.command}-full-{pages}"
            code = runs.finish(runs.start(out))
            if code == 0:
                return
            said = [line for line in runs.said().splitlines() if line.startswith("realuid: error: ")]
            runs.counts["full"] += 1
            left = [str(p) for p in disk.rglob("*") if ".realuid." in p.name and p.name != ".realuid.lock"]
            if code != 2 or len(said) != 1 or "space left" not in said[0] or left:
                runs.wrong[out.name] = [f"exit code {code}: {runs.said()[-300:]}", *left]
                continue
            subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
            runs.resume(out)


# -- one process of two --------------------------------------------------------------------------------------------


def partner(runs: Runs, kills: int, chance: random.Random, blow: signal.Signals = signal.SIGKILL) -> None:
    """One of two processes is killed (or stopped) at a random moment, and both are resumed; compared with two alone."""
    runs.whole, begin = runs.work / f"{runs.command}-two", time.perf_counter()
    if codes := _both(runs, runs.whole, False):
        raise SystemExit(f"two undisturbed processes ended with {codes}: {runs.said(0)} {runs.said(1)}")
    length = time.perf_counter() - begin
    for i in range(kills):
        out = runs.work / f"{runs.command}-partner-{i}"
        while True:
            pair = _pair(runs, out, False)
            if _struck(pair[i % 2], chance.uniform(0, length), blow):
                break
            pair[1 - i % 2].join()
            shutil.rmtree(out)
        runs.counts["kills"] += 1
        begin = time.perf_counter()
        pair[1 - i % 2].join(PATIENCE)
        runs.counts["longest wait, ms"] = max(runs.counts["longest wait, ms"], int(1e3 * (time.perf_counter() - begin)))
        if blow == signal.SIGSTOP:
            os.kill(pair[i % 2].pid or 0, signal.SIGCONT)
            pair[i % 2].join(PATIENCE)
        if alive := [rank for rank in (0, 1) if pair[rank].is_alive()]:
            runs.wrong[out.name] = [f"process {rank} did not end: {runs.said(rank)}" for rank in alive]
            for rank in alive:
                pair[rank].kill()
            continue
        codes = _both(runs, out, True)
        if codes and NOTHING in runs.said(0) + runs.said(1):
            runs.counts["started anew"] += 1
            codes = _both(runs, out, False)
        runs.check(out, f"exit codes {codes}: {runs.said(0)} {runs.said(1)}" if codes else "")


def _pair(runs: Runs, out: Path, resume: bool) -> list[Process]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return [runs.start(out, resume, rank, port) for rank in (0, 1)]


def _both(runs: Runs, out: Path, resume: bool) -> list[int]:
    codes = [runs.finish(process) for process in _pair(runs, out, resume)]
    return codes if any(codes) else []


# ------------------------------------------------------------------------------------------------------------------


def report(fault: str, runs: Runs) -> bool:
    """Print a row, and what is wrong; whether anything is."""
    c = runs.counts
    waited = f"{c['longest wait, ms'] / 1e3:6.1f} s" if "longest wait, ms" in c else ""
    print(
        f"{fault:8} {runs.command:8} {c['kills'] + c['full']:6}  {c['started anew']:12}  {c['runs']:5}  "
        f"{len(runs.wrong):5}  {waited}",
        flush=True,
    )
    for name, what in runs.wrong.items():
        print(f"  {runs.work / name}: {'; '.join(what)}")
    return bool(runs.wrong)


def main(arguments: list[str] | None = None) -> int:
    """Print a row for each fault and command; 1 if anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faults", nargs="*", default=list(FAULTS), help=", ".join(FAULTS))
    parser.add_argument("--commands", nargs="+", choices=COMMANDS, default=list(COMMANDS))
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--stride", type=int, default=1, help="pages by which the file system grows")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    work = Path(tempfile.mkdtemp(prefix="faults-"))
    (work / "recipe.yaml").write_text(RECIPE)
    wrong = False
    print(f"{'fault':8} {'command':8} faults  started anew  runs  wrong  longest wait", flush=True)
    if options.commands[0] != "train":
        Runs("train", work)  # the teacher
    for command in options.commands:
        for fault in options.faults:
            if fault in ("partner", "frozen") and command == "sweep":  # its trials are of one process each
                continue
            runs = Runs(command, work)
            chance = random.Random(f"{options.seed} {command} {fault}")
            if fault == "kill":
                kill(runs, options.kills, chance)
            elif fault == "full":
                full(runs, options.stride)
            else:
                partner(runs, options.kills, chance, signal.SIGSTOP if fault == "frozen" else signal.SIGKILL)
            wrong |= report(fault, runs)
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())
