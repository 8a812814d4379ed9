"""Kill a training and a distillation with SIGKILL at random moments, resume, and compare with the uninterrupted run.

    python benchmarks/kill_and_resume.py [--kills 20] [--seed 0] [--run teacher|student] [--protocol each|chain]
        [--updates N]

Two protocols. `each`: as many runs as kills, each killed once and resumed. `chain`: one run killed again and again. A
third of the kills aim at the moment in which a checkpoint is written, a few at the time before the first one. Every run
ends with the command line's own `--resume`; where that says that there is nothing to resume, the run starts anew, and
is counted. Weights, averages, optimisers, best models, evaluation history, sample grids and metrics.jsonl (timings
aside) must be bit-identical; otherwise the exit code is 1.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path

import torch

import realuid.api  # noqa: F401  # what commands import on their way, once for all of their processes
from realuid.cli import main as cli
from realuid.data import load_dataset
from realuid.metrics import classifier
from realuid.training.checkpoints import Checkpoints

Process = get_context("fork").Process

#: Intervals are no multiples of each other, so that a kill falls between logging, evaluating and saving in all ways.
RECIPE = """
data: {source: digits}
network: {channels: [8, 16], blocks: 1, attention_at: [], dropout: 0.1}
teacher: {updates: 120, batch: 16, lr: 2.0e-3, flip: true, ema: [0.9, 0.99], warmup: 10, lr_decay: cosine, device: cpu,
  log_every: 3, save_every: 7, evaluate_every: 80, sample_every: 50, quick_samples: 64, steps: 2}
distill: {updates: 60, batch: 16, fake_updates: 2, alpha: 0.92, beta: 0.94, ema: [0.9, 0.99], lr_decay: cosine,
  generator_lr: 5.0e-4, fake_lr: 1.0e-3, device: cpu, log_every: 3, save_every: 7, evaluate_every: 25,
  sample_every: 20, quick_samples: 64}
evaluate: {samples: 64, seeds: 1}
"""
COMMANDS = {"teacher": "train", "student": "distill"}
NOTHING = "nothing to resume"


class Runs:
    """Starts, kills and resumes runs of one kind in a folder.

    Args:
        kind: "teacher" or "student".
        work: holds recipe.yaml, and teacher/ for students.
        chance: chooses the moments.
        updates: length of a run; None is the recipe's.
    """

    def __init__(self, kind: str, work: Path, chance: random.Random, updates: int | None = None):
        self.kind, self.work, self.chance, self.updates = kind, work, chance, updates
        #: What is counted: starts anew, and where kills fell.
        self.counts: Counter[str] = Counter()
        self.startup = self.length = 0.0
        self.errors = work / "errors.txt"

    def launch(self, out: Path, resume: bool) -> Process:
        """The command line in a process of its own, on one thread; forked, so that importing torch is not repeated."""
        words = [COMMANDS[self.kind], str(self.work / "recipe.yaml"), "--out", str(out)]
        words += ["--teacher", str(self.work / "teacher")] if self.kind == "student" else []
        words += ["--resume"] if resume else []
        words += ["--updates", str(self.updates)] if self.updates and not resume else []
        process = Process(target=command_line, args=(words, self.errors))
        process.start()
        return process

    def whole(self, out: Path) -> Path:
        """The uninterrupted run; also measures how long starting and training take."""
        begin = time.perf_counter()
        process = self.launch(out, resume=False)
        while not Checkpoints(out / "checkpoints").steps() and process.is_alive():
            time.sleep(0.01)
        self.startup = time.perf_counter() - begin
        process.join()
        if process.exitcode:
            raise SystemExit(f"the uninterrupted run failed: {self.errors.read_text()}")
        self.length = time.perf_counter() - begin - self.startup
        return out

    def go(self, out: Path, resume: bool, aim: str = "", within: float = 0.0) -> bool:
        """Start or resume, and kill at the moment aimed at ("" lets it end). Returns whether the run ended by itself.

        Args:
            out: folder of the run.
            resume: with `--resume`; if there is nothing to resume, without.
            aim: "start" (before the first update), "update" (any moment after it) or "write" (in a checkpoint's files).
            within: seconds after the first new checkpoint in which the moment lies.
        """
        before = Checkpoints(out / "checkpoints").steps()
        process = self.launch(out, resume)
        if aim == "start":
            self._wait(process, self.chance.uniform(0.3, 1.1) * self.startup)
        elif aim:
            while Checkpoints(out / "checkpoints").steps() == before and process.is_alive():
                time.sleep(0.002)
            self._wait(process, self.chance.uniform(0, within))
            while aim == "write" and not _writing(out) and process.is_alive():
                pass
        killed = bool(aim) and process.is_alive()
        if killed:
            process.kill()
        process.join()
        if process.exitcode == -signal.SIGKILL:
            self.counts["kills"] += 1
            self.counts["in a write"] += _writing(out)
            return False
        errors = self.errors.read_text()
        if process.exitcode == 2 and NOTHING in errors and resume:
            self.counts["started anew"] += 1
            return self.go(out, False, aim, within)
        if process.exitcode:
            raise SystemExit(f"{self.kind} ended with exit code {process.exitcode}: {errors}")
        return True

    @staticmethod
    def _wait(process: Process, seconds: float) -> None:
        end = time.perf_counter() + seconds
        while time.perf_counter() < end and process.is_alive():
            time.sleep(min(0.001, seconds))

    def aims(self, kills: int) -> list[str]:
        """What each kill aims at, in random order: a tenth at the start, a third at a write."""
        starts, writes = max(1, kills // 10), max(1, kills // 3)
        aims = ["start"] * starts + ["write"] * writes + ["update"] * (kills - starts - writes)
        self.chance.shuffle(aims)
        return aims[:kills]

    def each(self, kills: int) -> Iterator[Path]:
        """As many runs as kills, each killed once and then resumed to its end."""
        for i, aim in enumerate(self.aims(kills)):
            out = self.work / f"{self.kind}-each-{i}"
            while self.go(out, False, aim, 0.7 * self.length):
                shutil.rmtree(out)  # it ended before its moment came
            self.go(out, resume=True)
            yield out

    def chain(self, kills: int) -> Iterator[Path]:
        """One run killed as often as asked for, then left to its end."""
        out = self.work / f"{self.kind}-chain"
        for i, aim in enumerate(self.aims(kills)):
            if self.go(out, i > 0, aim, 0.5 * self.length / kills):
                break
        self.go(out, resume=True)
        yield out


def command_line(words: list[str], errors: Path) -> None:
    """The command line, which writes to a file what it says of errors; it ends the process."""
    with errors.open("w") as file, Path(os.devnull).open("w") as nowhere:
        os.dup2(file.fileno(), sys.stderr.fileno())
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
        sys.exit(cli.main(words))


def _writing(out: Path) -> bool:
    try:
        return any(name.endswith(".tmp") for name in os.listdir(out / "checkpoints"))  # noqa: PTH208 (ten times faster)
    except FileNotFoundError:
        return False


def differences(a: Path, b: Path) -> list[str]:
    """Files of two finished runs that differ in a bit; times of day and speeds (and what shows them) aside."""
    found = sorted(n for n in _files(a) ^ _files(b))
    for name in sorted(_files(a) & _files(b)):
        if not _same(a / name, b / name):
            found.append(name)
    return found


def _files(folder: Path) -> set[str]:
    files = (str(f.relative_to(folder)) for f in folder.rglob("*") if f.is_file())
    return {f for f in files if not f.startswith("tensorboard") and f != "report.html"}


def _same(a: Path, b: Path) -> bool:
    if a.name == "metrics.jsonl":
        return _metrics(a) == _metrics(b)
    if a.suffix == ".pt":
        return _equal(*(torch.load(p, weights_only=True) for p in (a, b)))
    if a.name == "checksums.json":  # torch's files are compared by what they hold
        return True
    return a.read_bytes() == b.read_bytes()


def _metrics(path: Path) -> list[dict]:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "images_per_second"} for line in lines]


def _equal(a: object, b: object) -> bool:
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_equal(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(_equal, a, b))
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    return a == b


def main(arguments: list[str] | None = None) -> int:
    """Print a row for each kind and protocol; 1 if anything differs or a kill is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--run", choices=COMMANDS, help="only this kind of run")
    parser.add_argument("--updates", type=int, help="length of a run (by default 120 for teachers, 60 for students)")
    parser.add_argument("--protocol", choices=("each", "chain"), help="only this protocol")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    work = Path(tempfile.mkdtemp(prefix="kill-and-resume-"))
    (work / "recipe.yaml").write_text(RECIPE)
    classifier(load_dataset("digits"))  # cached, so that no run's length contains its training
    worst = 0
    print(f"{'run':8} {'protocol':8} kills  in a write  started anew  runs  differ", flush=True)
    for kind in COMMANDS:
        runs = Runs(kind, work, random.Random(f"{options.seed} {kind}"), options.updates)
        if kind == "teacher" or options.run != "teacher":
            whole = runs.whole(work / kind)
        if options.run not in (None, kind):
            continue
        for protocol in ("each", "chain") if options.protocol is None else (options.protocol,):
            runs.counts.clear()
            different = {}
            finished = 0
            for out in getattr(runs, protocol)(options.kills):
                finished += 1
                if names := differences(whole, out):
                    different[out.name] = names
            c = runs.counts
            print(
                f"{kind:8} {protocol:8} {c['kills']:5}  {c['in a write']:10}  {c['started anew']:12}  {finished:4}  "
                f"{len(different):6}",
                flush=True,
            )
            for name, names in different.items():
                print(f"  {work / name}: {', '.join(names)}")
            worst |= bool(different) or c["kills"] < options.kills
    return int(worst)


if __name__ == "__main__":
    sys.exit(main())
