"""Rollouts of perfect students in Gaussian worlds, on every path: their laws, by recursions in plain matrices."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from exact import exact_teacher
from oracles import FAMILIES, SOURCE, world

from realuid.models import Condition, Student

CALLS, D = 4, 2
# family, prediction of the network, whether it sees x_T; on coupled paths x_T is the same for all samples
CASES = [
    ("linear", "velocity", False),
    ("trigonometric", "velocity", False),
    ("vp", "noise_prediction", False),
    ("cosine", "v_prediction", False),
    ("ddpm scaled", "noise_prediction", False),
    ("ve", "data_prediction", False),
    ("interpolant linear sqrt free", "data_prediction", False),
    ("brownian", "data_prediction", True),
    ("brownian", "data_prediction", False),
    ("brownian", "drift", True),
    ("i2sb", "data_prediction", True),
    ("vp bridge", "data_prediction", True),
    ("ve bridge", "data_prediction", True),
    ("interpolant trigonometric sqrt coupled", "velocity_and_noise", True),
]
X_T = np.array([0.8, -0.3])


class Affine:
    """offset + columns @ (z, e_1, ..., e_(K-1)): what every step of a rollout is; shapes (d,) and (d, K d)."""

    def __init__(self, offset: np.ndarray, columns: np.ndarray):
        self.offset, self.columns = offset, columns

    def through(self, gain: np.ndarray, offset: np.ndarray) -> Affine:
        return Affine(gain @ self.offset + offset, gain @ self.columns)

    def plus(self, other: Affine, scale: float = 1.0) -> Affine:
        return Affine(self.offset + scale * other.offset, self.columns + scale * other.columns)


def noise(number: int) -> Affine:
    """Standard normal noise: z (0) or that of a later call."""
    columns = np.zeros((D, CALLS * D))
    columns[:, number * D : (number + 1) * D] = np.eye(D)
    return Affine(np.zeros(D), columns)


def by_hand(name: str, times: tuple[float, ...], sees_source: bool, renoise: str) -> list[Affine]:
    """x_1, ..., x_K as functions of all noise."""
    family, known = FAMILIES[name], world(FAMILIES[name].coupled, D)

    def parts(t: float) -> tuple[float, np.ndarray, float]:
        """a, what x_T adds, and the noise level."""
        a, b, c = family.abc(t)
        return (a, b * X_T, c) if family.coupled else (a, np.zeros(D), np.hypot(b, c))

    found: list[Affine] = []
    for k, t in enumerate(times):
        a, from_source, level = parts(t)
        if k == 0:
            x = Affine(from_source, level * noise(0).columns)
        else:
            before, known_source, known_level = parts(times[k - 1])
            if renoise == "deterministic":
                e = x.plus(found[-1], -before)
                e = Affine((e.offset - known_source) / known_level, e.columns / known_level)
            else:
                e = noise(k)
            x = Affine(from_source, 0 * noise(0).columns).plus(found[-1], a).plus(e, level)
        seen = [family.abc(t), *([SOURCE] if sees_source else [])]
        gain, offset = known.regress((1.0, 0.0, 0.0), *seen)
        found.append(x.through(gain[:, :D], offset + (gain[:, D:] @ X_T if sees_source else 0)))
    return found


@pytest.mark.parametrize("renoise", ["fresh", "deterministic"])
@pytest.mark.parametrize(("name", "prediction", "sees_source"), CASES)
def test_laws_of_rollouts(name: str, prediction: str, sees_source: bool, renoise) -> None:
    model = exact_teacher(name, world(FAMILIES[name].coupled, D), prediction, sees_source)
    student = Student(model, renoise=renoise, calls=CALLS)
    # all noise 0, and each of its numbers 1: the student's offset and columns
    units = torch.cat([torch.zeros(1, CALLS * D), torch.eye(CALLS * D)]).double().unflatten(1, (CALLS, D))
    x_T = torch.tensor(X_T).expand(len(units), D)
    condition = Condition(source=x_T if model.coupled else None)
    found = student.predictions(units[:, 0], condition, units[:, 1:])
    expected = by_hand(name, student.times, sees_source, renoise)
    assert len(found) == CALLS and student.times[0] > student.times[-1] > 0
    for n, (ours, theirs) in enumerate(zip(found, expected, strict=True), start=1):
        mean, columns = ours[0].numpy(), (ours[1:] - ours[0]).T.numpy()
        np.testing.assert_allclose(mean, theirs.offset, rtol=0, atol=1e-6)
        np.testing.assert_allclose(columns @ columns.T, theirs.columns @ theirs.columns.T, rtol=0, atol=1e-6)
        np.testing.assert_allclose(columns, theirs.columns, rtol=0, atol=1e-6)
        one = student(units[:, 0], condition, units[:, 1:], call=n - 1)
        assert torch.equal(one, ours)  # in training, too
        assert torch.equal(student.sample(units[:, 0], condition, calls=n), ours) == (
            renoise == "deterministic" or n == 1
        )
