"""What the scripts share: the command line in a process of its own, small models and images, and the verdict."""

from __future__ import annotations

import io
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from PIL import Image

#: An own working folder for each script.
W = Path(tempfile.mkdtemp(prefix="faults-")).resolve()
os.environ |= {"OMP_NUM_THREADS": "1", "REALUID_CACHE": str(W / "cache"), "HF_HUB_OFFLINE": "1", "COLUMNS": "150"}
os.chdir(W)
#: Times are of an idle machine; a busy one is slower.
SLOWER = 6

MOONS = """name: moons
data: {source: "toy:moons", conditional: false}
network: {architecture: mlp, channels: [16], blocks: 1}
teacher: {updates: 20, batch: 16, save_every: 5, log_every: 2}
distill: {updates: 6, batch: 8, save_every: 2, log_every: 1}
evaluate: {samples: 60, seeds: 1, steps: 2}
"""


def cli(
    *words: object, timeout: float = 50, gb: float | None = None, env: Mapping[str, str] | None = None
) -> tuple[int | None, str, int]:
    """Run realuid: exit code, or None where it hangs; what it said; and the peak memory of all commands so far in MB.

    Args:
        words: of the command line.
        timeout: seconds on an idle machine.
        gb: limit of the address space.
        env: variables to set.
    """

    def limit() -> None:
        if gb:
            resource.setrlimit(resource.RLIMIT_AS, (int(gb * 2**30),) * 2)

    command = [sys.executable, "-m", "realuid.cli.main", *map(str, words)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    process = subprocess.Popen(command, **pipes, preexec_fn=limit, env={**os.environ, **(env or {})})
    code: int | None
    try:
        content, _ = process.communicate(timeout=SLOWER * timeout)
        code = process.returncode
    except subprocess.TimeoutExpired:
        process.kill()
        (content, _), code = process.communicate(), None
    said = content.decode(errors="replace")
    last = (said.strip().splitlines() or [""])[-1]
    print("$ realuid", " ".join(map(str, words))[:150], "-> code", code, "|", last[:300], flush=True)
    return code, said, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024


def verdict(faulty: object, text: str) -> NoReturn:
    """End the script: with 1 where the fault is there."""
    shutil.rmtree(W, ignore_errors=True)
    print("FAULT PRESENT:" if faulty else "not seen:", text)
    sys.exit(1 if faulty else 0)


def png(value: int = 7, side: int = 8) -> bytes:
    """A grey image of one level."""
    file = io.BytesIO()
    Image.new("L", (side, side), value).save(file, "PNG")
    return file.getvalue()


def tiny(folder: str, kind: str = "generator", path: str = "linear", classes: int = 0, **about: object) -> Path:
    """A small untrained model in realuid's own folder."""
    from realuid.models import Generator, MatchingModel, UNet, save_pretrained
    from realuid.paths import make_path

    made = make_path(path)
    settings = {"sample_size": 8, "in_channels": 2 if made.coupled else 1, "out_channels": 1, "layers_per_block": 1}
    settings |= {"down_block_types": ["DownBlock2D"] * 2, "up_block_types": ["UpBlock2D"] * 2, "norm_num_groups": 4}
    settings |= {"block_out_channels": [8, 8], "add_attention": False, "num_class_embeds": classes or None}
    model = MatchingModel(UNet(sees_source=made.coupled, **settings), made)
    return save_pretrained((Generator(model) if kind == "generator" else model).eval(), folder, **about)
