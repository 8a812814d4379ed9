"""One-step generation on the CPU: eager PyTorch, a torch.export program, ONNX Runtime in three precisions.

python benchmarks/one_step_formats.py [--model runs/student] [--channels 128 256 256 256] [--side 32] [--threads 2]
                                      [--clock cpu]

Without --model: random weights at the paper's CIFAR-10 size. The formats take turns, so that a machine's moods hit all
alike; figures are medians, of wall time or, on a machine that others use, of CPU time. Needs realuid[onnx].
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from realuid.exports import ExportOptions, export_student, load_student
from realuid.exports.formats import FORMATS
from realuid.models import Condition, Generator, MatchingModel, NetworkConfig, build_network, count_parameters
from realuid.paths import make_path

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
Run = Callable[[torch.Tensor, Condition], torch.Tensor]


def student(arguments: argparse.Namespace) -> Generator:
    """The model asked for, or one with random weights."""
    if arguments.model:
        return load_student(arguments.model)
    torch.manual_seed(0)
    config = NetworkConfig(channels=tuple(arguments.channels))
    network = build_network(config, (3, arguments.side, arguments.side))
    return Generator(MatchingModel(network, make_path("linear"))).eval()


def formats(generator: Generator, folder: Path) -> dict[str, tuple[Run, float, float]]:
    """name -> how it is run, its size in megabytes, its largest difference from eager PyTorch."""
    size = sum(p.numel() * p.element_size() for p in generator.parameters()) / 1e6
    runs: dict[str, tuple[Run, float, float]] = {"eager PyTorch": (generator, size, 0.0)}
    wanted = {"torch.export program": ("torch", ExportOptions(), "s.pt2")}
    for precision in ("fp32", "fp16", "int8"):
        wanted[f"ONNX Runtime {precision}"] = ("onnx", ExportOptions(precision=precision), f"{precision}.onnx")
    for name, (to, options, file) in wanted.items():
        export = export_student(generator, folder / file, to, options)
        size = export.path.stat().st_size / 1e6
        runs[name] = (FORMATS[to].read(export.path), size, export.difference)
    return runs


@torch.no_grad()
def milliseconds(
    runs: dict[str, Run], generator: Generator, batch: int, rounds: int, clock: Callable[[], float]
) -> dict[str, float]:
    """Median time of a call, all formats in turn."""
    z = torch.randn(batch, *generator.shape)
    labels = torch.arange(batch) % generator.num_classes if generator.num_classes else None
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds + 1):  # the first is a warm-up
        for name, run in runs.items():
            start = clock()
            run(z, Condition(label=labels))
            times[name].append(1000 * (clock() - start))
    return {name: statistics.median(values[1:]) for name, values in times.items()}


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="")
    parser.add_argument("--channels", type=int, nargs="+", default=[128, 256, 256, 256])
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    generator = student(arguments)
    print(
        f"{count_parameters(generator):,} parameters, samples of shape {generator.shape}, {arguments.threads} threads, "
        f"torch {torch.__version__}, medians of {arguments.rounds} rounds, {arguments.clock} time\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        found = formats(generator, Path(folder))
        runs = {name: run for name, (run, _, _) in found.items()}
        columns = {
            b: milliseconds(runs, generator, b, arguments.rounds, CLOCKS[arguments.clock]) for b in arguments.batches
        }
    print(f"| format | MB | largest difference | {' | '.join(f'ms, batch {b}' for b in columns)} |")
    print("|---|---|---|" + "---|" * len(columns))
    for name, (_, size, difference) in found.items():
        print(f"| {name} | {size:.1f} | {difference:.1e} | {' | '.join(f'{c[name]:.1f}' for c in columns.values())} |")


if __name__ == "__main__":
    main()
