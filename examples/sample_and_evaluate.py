"""Load a model, draw samples to a grid, and measure it.

python examples/sample_and_evaluate.py MODEL [GRID.png] [SAMPLES]
"""

from __future__ import annotations

import sys
from pathlib import Path

import realuid
from realuid.data import save_grid
from realuid.recipes import EvaluateConfig


def main(model: str, grid: str = "grid.png", samples: str = "2000") -> None:
    """A grid of 64 images, and the figures."""
    loaded = realuid.load_model(model)
    save_grid(realuid.sample(loaded, 64, seed=1), Path(grid))
    figures = realuid.evaluate(loaded, "digits", EvaluateConfig(samples=int(samples), seeds=2, steps=20))
    print(f"{figures.calls} network calls a sample: FD {figures.fd}, KID {figures.kid}")


if __name__ == "__main__":
    main(*sys.argv[1:])
