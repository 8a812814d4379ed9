"""Inject faults into runs, resume them, and compare with the undisturbed run, bit for bit.

    python -m benchmarks.faults [kill] [full] [partner] [frozen] [--kills 20] [--stride 4] [--seed 0]

kill: `train`, `distill` and `sweep` are killed (SIGKILL) at random moments of their whole length, then resumed.
full: the same on a file system that is too small, each time `--stride` pages larger (a tmpfs, which takes root): every
    command has to end with exit code 2 and one line; on a larger one it is resumed.
partner: one of two processes that train together is killed, by turns the first and the second. The other has to end
    within a minute, and both are resumed. Of a sweep, the command or the additional process that it has started: the
    other goes on with its trials, and must not be without writing for a minute until it ends.
frozen: the same with SIGSTOP; the stopped one goes on once the other has ended, and has to end within a minute, too.

A run with nothing to resume is started anew, and counted. Folders that differ from the undisturbed run in anything but
times of day and speeds are printed, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from benchmarks.disturbed import COMMANDS, RECIPE, Runs, struck
from benchmarks.partners import helper, partner

FAULTS = ("kill", "full", "partner", "frozen")

# -- killed at random moments --------------------------------------------------------------------------------------


def kill(runs: Runs, kills: int, chance: random.Random) -> None:
    """As many runs as kills, each killed once and resumed."""
    for i in range(kills):
        out = runs.work / f"{runs.command}-kill-{i}"
        while not struck(runs.start(out), chance.uniform(0, runs.length)):
            shutil.rmtree(out)  # it ended before its moment came
        runs.counts["kills"] += 1
        runs.resume(out)
        shutil.rmtree(out)


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
            runs = Runs(command, work)
            chance = random.Random(f"{options.seed} {command} {fault}")
            if fault == "kill":
                kill(runs, options.kills, chance)
            elif fault == "full":
                full(runs, options.stride)
            else:
                lose = helper if command == "sweep" else partner
                lose(runs, options.kills, chance, signal.SIGSTOP if fault == "frozen" else signal.SIGKILL)
            wrong |= report(fault, runs)
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())
