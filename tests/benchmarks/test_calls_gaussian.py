"""In an exact Gaussian game the last call learns as fast as the first one only with gradients scaled up."""

from __future__ import annotations

import numpy as np

from benchmarks.calls_gaussian import CALLS, STDS, distances, gradient, loss, slope, variances


def test_the_gradient_is_that_of_the_loss_through_each_calls_own_slope() -> None:
    slopes = np.array([slope(tau, STDS**2) for tau in CALLS]) + 0.1
    inputs, _ = variances(slopes)
    for k, i in ((0, 3), (3, 20)):
        sides = []
        for change in (1e-5, -1e-5):
            moved = slopes.copy()
            moved[k, i] += change
            sides.append(loss((1 - CALLS[:, None] * moved) ** 2 * inputs)[k, i] / len(CALLS))
        np.testing.assert_allclose(gradient(slopes)[k, i], (sides[0] - sides[1]) / 2e-5, rtol=1e-3)


def test_the_last_call_learns_only_with_gradients_as_large_as_those_of_the_first() -> None:
    plain, scaled = distances(0, 200, 0.02)[2], distances(1, 200, 0.02)[2]
    assert plain[3] > 10 * plain[0] and scaled[3] < scaled[0] < 0.01 and scaled[3] < plain[3] / 100
