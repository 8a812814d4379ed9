"""How fast the calls of a student learn, without noise: data, teacher, student and fake model are Gaussian.

    python -m benchmarks.calls_gaussian [--steps 200] [--lr 0.02]

Data are N(0, s_i^2) in 24 directions, s from 1 to 0.05, on the linear path. The student's velocity is linear with one
slope for each call and direction, and starts from the teacher's; the fake model is the best one for every call. UID's
loss is then an integral over time, and steps of one length are taken against its gradient, as by a network that all
calls share. The gradient of call k is multiplied by (tau_1 / tau_k)^p. Printed is the squared Wasserstein distance to
the data of every call on the way: p = 0 leaves the last calls behind the first one, although they start ahead of it.
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: Times of the loss, standard deviations of the data, and times of the calls (the rule for four on the linear path).
TIMES = (np.arange(48) + 0.5) / 48
STDS = np.geomspace(1.0, 0.05, 24)
CALLS = np.array([0.714, 0.554, 0.404, 0.235])
POWERS = (0, 1, 2)


def slope(t: Array | float, variance: Array) -> Array:
    """The velocity E[x_T - x_0 | x_t] / x_t of data N(0, variance)."""
    return (t - (1 - t) * variance) / ((1 - t) ** 2 * variance + t**2)


def loss(variance: Array) -> Array:
    """E_t E ||f* - f||^2 over x_t of generated data N(0, variance), f the best fake model; shape of variance."""
    v = variance[..., None]
    away = slope(TIMES, STDS[:, None] ** 2) - slope(TIMES, v)
    return (away**2 * ((1 - TIMES) ** 2 * v + TIMES**2)).mean(axis=-1)


def variances(slopes: Array) -> tuple[Array, Array]:
    """Variances of inputs and predictions of all calls, shape (calls, directions) each."""
    inputs, made = np.empty_like(slopes), np.empty_like(slopes)
    for k, tau in enumerate(CALLS):
        inputs[k] = tau**2 + ((1 - tau) ** 2 * made[k - 1] if k else 0)
        made[k] = (1 - tau * slopes[k]) ** 2 * inputs[k]
    return inputs, made


def gradient(slopes: Array) -> Array:
    """Of the mean loss of the calls in their slopes; none passes through the inputs."""
    inputs, made = variances(slopes)
    step = 1e-4 * made + 1e-9
    in_variance = (loss(made + step) - loss(made - step)) / (2 * step)
    tau = CALLS[:, None]
    return in_variance * 2 * (1 - tau * slopes) * -tau * inputs / len(CALLS)


def distances(power: float, steps: int, lr: float) -> list[Array]:
    """Squared Wasserstein distances of the calls at 0, 20, 40, ... 100% of the steps."""
    slopes, found = np.array([slope(tau, STDS**2) for tau in CALLS]), []
    weight = (CALLS[0] / CALLS[:, None]) ** power
    for n in range(steps + 1):
        if n % (steps // 5) == 0:
            found.append(((np.sqrt(variances(slopes)[1]) - STDS) ** 2).sum(axis=1))
        g = weight * gradient(slopes)
        slopes = slopes - lr * (1 - n / (steps + 1)) * g / np.sqrt((g**2).mean())
    return found


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--lr", type=float, default=0.02)
    options = parser.parse_args()
    print("| p | steps | " + " | ".join(f"{k} calls" for k in range(1, len(CALLS) + 1)) + " |")
    print("|---|---|" + "---|" * len(CALLS))
    for power in POWERS:
        for i, row in enumerate(distances(power, options.steps, options.lr)):
            cells = " | ".join(f"{value:.4f}" for value in row)
            print(f"| {power} | {i * options.steps // 5} | {cells} |")


if __name__ == "__main__":
    main()
