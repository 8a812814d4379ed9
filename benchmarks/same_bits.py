"""Are trained weights bit-identical to those of another commit?

    python benchmarks/same_bits.py --against 547dd6d            # every family, students' variants and a sweep
    python benchmarks/same_bits.py --against 547dd6d --quick    # fewer updates, half a minute of processor time a side
    python benchmarks/same_bits.py --against 547dd6d --only vp --only sweep

Runs the same command lines twice, in two processes of one thread each: with the files of COMMIT, in a temporary
folder, and with the tree that this file stands in, uncommitted changes included. Compares
every tensor of all saved models and checkpoints and the pictures of the samples. A tensor under another name is the
same if its bits are. Exit code 0: identical; 1: a difference, which the table names; 2: a command failed.

With --cache FOLDER the runs of COMMIT are kept there and used again (on the same machine).
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.numpy import load_file

HERE = Path(__file__).resolve().parents[1]
#: Updates of a teacher, a student and a trial of the sweep.
FULL, QUICK = (40, 20, 8), (10, 5, 4)


@dataclass(frozen=True)
class Run:
    """One command line; it writes into the folder `out`."""

    name: str
    words: tuple[str, ...]
    out: str


@dataclass(frozen=True)
class Case:
    """Command lines that are run one after the other, in one working folder."""

    name: str
    runs: tuple[Run, ...]


def cases(lengths: tuple[int, int, int]) -> list[Case]:
    """All that is compared: the five families, variants of the flow's student, and a sweep of four trials."""
    families = {"flow": "demo", "vp": "digits-vp", "edm": "digits-edm", "bridge": "digits-bridge"}
    families["interpolant"] = "digits-interpolant"
    made = [Case(name, _family(recipe, lengths)) for name, recipe in families.items()]
    teacher = _teacher("demo", lengths, ("--label-dropout", "0.1"))
    variants = {
        "adversarial": ("--lambda-g", "0.3", "--t-init", "1.0"),
        "parts": ("--micro-batch", "12", "--recompute", "True", "--ema", "0.9", "0.99"),
        "guided": ("--guidance", "1.5", "--fake-start", "teacher", "--normalise"),
    }
    students = [_student("demo:real-data", lengths, f"student-{k}", words) for k, words in variants.items()]
    return [*made, Case("variants", (teacher, *students)), Case("sweep", (_teacher("demo", lengths), _sweep(lengths)))]


def _family(recipe: str, lengths: tuple[int, int, int]) -> tuple[Run, ...]:
    steps = ("--steps", "4") if recipe != "digits-edm" else ("--steps", "4", "--sampler", "heun")
    classes = ("--classes", *map(str, range(10))) if recipe == "demo" else ()
    words = ("--count", "16", *classes)
    return (
        _teacher(recipe, lengths),
        _student(f"{recipe}:real-data", lengths, "student"),
        Run("samples of the teacher", ("sample", "teacher", *words, *steps, "--out", "images/t.png"), "images"),
        Run("samples of the student", ("sample", "student", *words, "--out", "images/s.png"), "images"),
    )


def _teacher(recipe: str, lengths: tuple[int, int, int], words: tuple[str, ...] = ()) -> Run:
    length = ("--updates", str(lengths[0]), "--batch", "32", "--warmup", "5", "--sample-every", "0")
    return Run("teacher", ("train", recipe, *length, *words, "--out", "teacher"), "teacher")


def _student(recipe: str, lengths: tuple[int, int, int], out: str, words: tuple[str, ...] = ()) -> Run:
    half = str(max(1, lengths[1] // 2))
    length = ("--updates", str(lengths[1]), "--batch", "32", "--warmup", "5", "--sample-every", "0")
    quick = ("--evaluate-every", half, "--save-every", half, "--quick-samples", "64", "--trust-teacher")
    return Run(out, ("distill", recipe, "--teacher", "teacher", *length, *quick, *words, "--out", out), out)


def _sweep(lengths: tuple[int, int, int]) -> Run:
    grid = ("--alpha", "0.96", "1.0", "--ratio", "0.98", "1.0", "--hopeless", "0", "--trust-teacher")
    length = ("--distill.updates", str(lengths[2]), "--distill.batch", "32", "--distill.warmup", "2")
    every = ("--distill.evaluate-every", str(lengths[2] // 2), "--distill.quick-samples", "64")
    measure = ("--distill.sample-every", "0", "--evaluate.samples", "64", "--evaluate.seeds", "1")
    words = ("sweep", "demo", "--teacher", "teacher", *grid, *length, *every, *measure, "--out", "sweep")
    return Run("sweep of 4 trials", words, "sweep")


class CommandError(Exception):
    """A command line ended with an exit code other than zero."""


#: Carries out many command lines in one process, since each start costs seconds: [[folder, words, ...], ...] on stdin.
PROGRAM = """
import json, os, sys
from realuid.cli.main import main
for folder, words in json.load(sys.stdin):
    os.chdir(folder)
    if code := main(words):
        sys.exit(f"realuid {' '.join(words)}: exit code {code}")
"""


def carry_out(chosen: list[Case], tree: Path, folder: Path) -> None:
    """Run the command lines of cases with the library of `tree`, in one process, each in `folder / case.name`."""
    lines = []
    for case in chosen:
        (folder / case.name).mkdir(parents=True)
        for run in case.runs:
            device = "--distill.device" if run.words[0] == "sweep" else "--device"
            lines.append([str(folder / case.name), [*run.words, device, "cpu"]])
    environment = {**os.environ, "PYTHONPATH": str(tree / "src"), "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    words = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(words, env=environment, input=json.dumps(lines), capture_output=True, text=True)
    if done.returncode:
        raise CommandError(f"with {tree}: {done.stderr.strip()[-2000:]}")


def unscaled(path: Path) -> np.ndarray:
    """The pixels of a picture, whatever its whole-number magnification: one of equal neighbouring rows and columns."""
    with Image.open(path) as image:
        pixels = np.asarray(image)
    for axis in (0, 1):
        pixels = np.moveaxis(pixels, axis, 0)
        new = np.any(pixels[1:] != pixels[:-1], axis=tuple(range(1, pixels.ndim)))
        pixels = np.moveaxis(pixels[np.concatenate([[True], new])], 0, axis)
    return pixels


def arrays_of(folder: Path) -> dict[str, dict[str, np.ndarray]]:
    """File -> name -> array, of all safetensors and pictures in a folder."""
    found = {str(p.relative_to(folder)): load_file(p) for p in sorted(folder.rglob("*.safetensors"))}
    pictures = {str(p.relative_to(folder)): {"pixels": unscaled(p)} for p in folder.glob("*.png")}
    return found | pictures


def fingerprint(array: np.ndarray) -> str:
    """What two arrays share if and only if type, shape and all bits are the same."""
    return f"{array.dtype}{array.shape}" + hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


@dataclass
class Comparison:
    """Of the arrays of one file or several."""

    same: int = 0
    renamed: int = 0
    #: In the reference alone, and in this tree alone.
    gone: int = 0
    new: int = 0
    different: int = 0
    #: The largest |difference| over the largest |value|, and the array it is in.
    worst: float = 0.0
    where: str = ""

    @property
    def identical(self) -> bool:
        """Whether the trained numbers are the same."""
        return not (self.different or self.gone or self.new) and bool(self.same or self.renamed)

    def __add__(self, other: Comparison) -> Comparison:
        first, second = dataclasses.asdict(self), dataclasses.asdict(other)
        total = {k: v + second[k] for k, v in first.items() if k not in ("worst", "where")}
        most = max(self, other, key=lambda one: one.worst)
        return Comparison(**total, worst=most.worst, where=most.where)


def compare_arrays(old: dict[str, np.ndarray], new: dict[str, np.ndarray]) -> Comparison:
    """Two files' arrays: by name, then those left over by their bits."""
    result = Comparison()
    prints = {k: fingerprint(v) for k, v in old.items()}, {k: fingerprint(v) for k, v in new.items()}
    for name in old.keys() & new.keys():
        if prints[0][name] == prints[1][name]:
            result.same += 1
        else:
            result.different += 1
            worst = relative_difference(old[name], new[name])
            if worst >= result.worst:
                result.worst, result.where = worst, name
    left = [Counter(side[k] for k in side.keys() - other.keys()) for side, other in (prints, prints[::-1])]
    common = left[0] & left[1]
    result.renamed = common.total()
    result.gone, result.new = (left[0] - common).total(), (left[1] - common).total()
    return result


def relative_difference(old: np.ndarray, new: np.ndarray) -> float:
    """max |old - new| / max |old|; infinite where shapes differ or something is not finite."""
    if old.shape != new.shape or not old.size:
        return float("inf")
    a, b = old.astype("float64"), new.astype("float64")
    most = float(np.abs(a - b).max() / max(float(np.abs(a).max()), 1e-30))
    return most if np.isfinite(most) else float("inf")


def compare_folders(old: Path, new: Path) -> dict[str, Comparison]:
    """File -> comparison. A file in one of the folders alone is compared with nothing."""
    files = arrays_of(old), arrays_of(new)
    names = sorted(files[0].keys() | files[1].keys())
    return {name: compare_arrays(files[0].get(name, {}), files[1].get(name, {})) for name in names}


def checkout(commit: str, folder: Path) -> None:
    """The files of a commit."""
    folder.mkdir(parents=True)
    packed = subprocess.run(["git", "-C", HERE, "archive", commit, "src"], check=True, capture_output=True)
    subprocess.run(["tar", "-x", "-C", folder], check=True, input=packed.stdout)


def reference_runs(commit: str, chosen: list[Case], folder: Path, scratch: Path) -> None:
    """The runs of COMMIT in `folder`, one sub-folder a case; those that are there already stay."""
    missing = [case for case in chosen if not (folder / case.name).exists()]
    if not missing:
        return
    tree = scratch / "tree"
    checkout(commit, tree)
    print(f"{commit[:7]}: {', '.join(case.name for case in missing)}", flush=True)
    carry_out(missing, tree, scratch / "unfinished")
    folder.mkdir(parents=True, exist_ok=True)
    for case in missing:
        shutil.move(scratch / "unfinished" / case.name, folder / case.name)


def resolve(commit: str) -> str:
    """The full hash of a commit."""
    words = ["git", "-C", HERE, "rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}"]
    found = subprocess.run(words, capture_output=True, text=True)
    if found.returncode:
        raise CommandError(f"no commit '{commit}' in {HERE}")
    return found.stdout.strip()


def report(rows: dict[tuple[str, str], dict[str, Comparison]], details: bool) -> bool:
    """Print a table with one line a run; returns whether all is identical."""
    print(f"{'case':<12} {'run':<24} {'tensors':>7} {'renamed':>7} {'gone':>5} {'new':>5} {'differ':>6}  largest")
    good = True
    for (case, run), files in rows.items():
        total = sum(files.values(), Comparison())
        good = good and total.identical
        largest = f"{total.worst:.1e} in {total.where}" if total.different else ""
        counts = f"{total.same:>7} {total.renamed:>7} {total.gone:>5} {total.new:>5} {total.different:>6}"
        print(
            f"{case:<12} {run:<24} {counts}  {largest or ('identical' if total.identical else 'not the same tensors')}"
        )
        for name, one in files.items():
            if details and not one.identical:
                print(f"    {name}: {json.dumps(dataclasses.asdict(one))}")
    return good


def main() -> int:
    """Run, compare, print; see the module's docstring for exit codes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [case.name for case in cases(FULL)]
    parser.add_argument("--against", metavar="COMMIT", required=True, help="the reference")
    parser.add_argument("--quick", action="store_true", help="10 updates of teachers and 5 of students, not 40 and 20")
    parser.add_argument("--only", metavar="CASE", action="append", choices=names, help=f"one of {', '.join(names)}")
    parser.add_argument("--cache", metavar="FOLDER", type=Path, help="where runs of COMMIT are kept and used again")
    parser.add_argument("--details", action="store_true", help="also name the files that differ")
    options = parser.parse_args()
    chosen = [case for case in cases(QUICK if options.quick else FULL) if case.name in (options.only or names)]
    with tempfile.TemporaryDirectory(prefix="same-bits-") as name:
        scratch = Path(name)
        try:
            commit = resolve(options.against)
            old = (options.cache or scratch / "reference") / commit / ("quick" if options.quick else "full")
            reference_runs(commit, chosen, old, scratch)
            rows = {}
            print(f"this tree: {', '.join(case.name for case in chosen)}", flush=True)
            carry_out(chosen, HERE, scratch / "new")
            for case in chosen:
                for run in case.runs:
                    folders = old / case.name / run.out, scratch / "new" / case.name / run.out
                    rows[case.name, "samples" if run.out == "images" else run.name] = compare_folders(*folders)
        except CommandError as error:
            print(f"same_bits: {error}", file=sys.stderr)
            return 2
        return 0 if report(rows, options.details) else 1


if __name__ == "__main__":
    sys.exit(main())
