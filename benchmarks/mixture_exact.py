"""How fast would the mixture objective correct a wrong teacher if the fake model were always at its optimum?

    python -m benchmarks.mixture_exact [--steps 100]

One dimension, five Gaussians, straight paths. The generator is 400 particles; the fake model is the loss's maximiser in
closed form, computed on a grid, so that only the loss itself decides how the particles move. They start at the wrong
teacher's distribution and follow the loss's gradient, divided by its root mean square, at a rate falling to 0. Printed:
the Wasserstein distance (W1) to the data after each fifth of the steps. `perfect teacher` is UID from the data's own
field, the best that any correction could do.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_MODES = 1.1 * np.arange(-2.0, 3.0)
_GRID = np.linspace(-6, 6, 601)
_STEP = float(_GRID[1] - _GRID[0])
_TIMES = (np.arange(12) + 0.5) / 12
_PARTICLES = 400


@dataclass(frozen=True)
class Gaussians:
    """Gaussians of one standard deviation at the five modes."""

    weights: tuple[float, ...] = (0.2,) * 5
    std: float = 0.2

    def _parts(self, t: float) -> tuple[Array, Array, float]:
        """Offsets from the components' means and weighted densities at time t, shape (grid, 5); their variance."""
        a = 1 - t
        variance = a**2 * self.std**2 + t**2
        off = _GRID[:, None] - a * _MODES
        return (
            off,
            np.array(self.weights) * np.exp(-(off**2) / (2 * variance)) / np.sqrt(2 * np.pi * variance),
            variance,
        )

    def density(self, t: float) -> Array:
        """Of x_t on the grid."""
        return self._parts(t)[1].sum(1)

    def velocity(self, t: float) -> Array:
        """E[x_1 - x_0 | x_t] on the grid."""
        off, parts, variance = self._parts(t)
        gain = (t - (1 - t) * self.std**2) / variance
        return ((gain * off - _MODES) * parts).sum(1) / (parts.sum(1) + 1e-300)

    def quantiles(self) -> Array:
        """As many as there are particles."""
        cumulative = self.density(1e-3).cumsum()
        return np.interp((np.arange(_PARTICLES) + 0.5) / _PARTICLES, cumulative / cumulative[-1], _GRID)


DATA = Gaussians()
WRONG = {
    "one mode missing": Gaussians((0.25, 0.25, 0.25, 0.25, 1e-30)),
    "weights 3 : 1 : 0.3 : 0.5 : 0.5": Gaussians((0.566, 0.189, 0.057, 0.094, 0.094)),
    "blurred, 0.2 to 0.45": Gaussians(std=0.45),
}


def gradient(x: Array, teacher: Gaussians, weight: float, gamma: float) -> Array:
    """Of the mixture objective with respect to every particle, at the best fake model; UID is weight 0, gamma 1."""
    total = np.zeros_like(x)
    for t in _TIMES:
        kernel = np.exp(-((_GRID[:, None] - (1 - t) * x) ** 2) / (2 * t**2)) / (np.sqrt(2 * np.pi) * t)
        made, real = kernel.mean(1), DATA.density(t)
        f_star, f_made = teacher.velocity(t), (_GRID - (kernel * x).mean(1) / (made + 1e-12)) / t
        difference = made * (f_star - f_made) - weight * real * (f_star - DATA.velocity(t))
        delta = difference / (gamma * made + (1 - gamma) * real + 1e-9)
        y = (_GRID[:, None] - x) / t
        of_y = np.gradient(delta, _STEP)[:, None] * y
        of_x = np.gradient(2 * delta * f_star - gamma * delta**2, _STEP)[:, None]
        total += (kernel * ((1 - t) * (of_x - 2 * of_y) + 2 * delta[:, None])).sum(0) * _STEP / len(_TIMES)
    return total


def distances(start: Gaussians, teacher: Gaussians, weight: float, gamma: float, steps: int) -> list[float]:
    """W1 to the data after each fifth of the steps."""
    x, real, square, found = start.quantiles(), DATA.quantiles(), 0.0, []
    for step in range(steps):
        g = gradient(x, teacher, weight, gamma)
        square = 0.9 * square + 0.1 * float((g**2).mean()) if step else float((g**2).mean())
        x = x - 0.02 * min(1, 2 * (1 - step / steps)) * g / np.sqrt(square)
        if (step + 1) % (steps // 5) == 0:
            found.append(float(np.abs(np.sort(x) - real).mean()))
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=100)
    options = parser.parse_args()
    for name, wrong in WRONG.items():
        start = float(np.abs(wrong.quantiles() - DATA.quantiles()).mean())
        print(f"{name}: {start:.3f} at the start")
        games = {f"mixture, gamma {gamma}": (wrong, 1.0, gamma) for gamma in (0.2, 0.5, 0.8)}
        for label, (teacher, weight, gamma) in (
            {"perfect teacher": (DATA, 0.0, 1.0), "UID": (wrong, 0.0, 1.0)} | games
        ).items():
            found = distances(wrong, teacher, weight, gamma, options.steps)
            print(f"  {label:<20}" + " ".join(f"{v:.3f}" for v in found), flush=True)


if __name__ == "__main__":
    main()
