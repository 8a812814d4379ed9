"""The one-dimensional analysis of App. A.1.3 and A.1.4: closed forms against the oracles, and what the figures show."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from oracles import FAMILIES, slope, world
from players import Side, general_weights, lemma_2, mixture_weights

from realuid.objectives.analysis import (
    Mixture,
    best_student,
    corrected_range,
    corrected_teacher,
    distance,
    loss_at,
    mixture_distance,
    mixture_loss_at,
)
from realuid.reports.analysis import LAMBDAS, figure_3_numbers, figure_4_numbers, law_2_numbers

X = torch.linspace(-6, 6, 2001, dtype=torch.float64)
REAL, MOVED = Mixture((0.4,), (0.8,)), Mixture((0.65,), (0.64,))  # the worlds of the oracles: shift 0.25, stretch 0.8


@pytest.mark.parametrize("t", [0.1, 0.5, 0.9])
def test_gaussians_are_those_of_the_oracles(t: float) -> None:
    for mixture, knobs in ((REAL, {}), (MOVED, {"shift": 0.25, "stretch": 0.8})):
        side = Side.of(FAMILIES["linear"], t, world(False, 1, **knobs), ("velocity",))
        np.testing.assert_allclose(mixture.density(X, t), side.density(X.numpy()[:, None]), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(mixture.velocity(X, t), side.f(X.numpy()[:, None])[:, 0], rtol=1e-6, atol=1e-9)


def test_a_mixture_s_velocity_is_the_average_over_its_components() -> None:
    parts, t = [Mixture((-2.0,), (0.4,)), Mixture((1.0,), (0.7,))], 0.4
    both = Mixture((-2.0, 1.0), (0.4, 0.7), (0.3, 0.7))
    densities = [w * part.density(X, t) for w, part in zip((0.3, 0.7), parts, strict=True)]
    flow = sum(d * part.velocity(X, t) for d, part in zip(densities, parts, strict=True))
    torch.testing.assert_close(both.density(X, t), sum(densities))
    torch.testing.assert_close(both.velocity(X, t), flow / sum(densities))


@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 1.0), (0.92, 0.94), (0.92, 0.86)])
def test_the_loss_integrates_to_lemma_2(alpha: float, beta: float) -> None:
    sides = [
        Side.of(FAMILIES["linear"], 0.35, world(False, 1, **knobs), ("velocity",))
        for knobs in ({}, {"shift": 0.25, "stretch": 0.8})
    ]
    loss = loss_at(REAL, MOVED, alpha, beta, X, 0.35)
    assert float(loss.sum() * (X[1] - X[0])) == pytest.approx(
        lemma_2(*sides, sides[0], general_weights(alpha, beta, alpha)), rel=1e-5
    )


@pytest.mark.parametrize(("data_weight", "gamma"), [(0.0, 1.0), (0.4, 0.5), (1.0, 0.2)])
def test_the_mixture_s_loss_integrates_to_its_distance(data_weight: float, gamma: float) -> None:
    taught = Mixture((0.8,), (0.88,))
    sides = [
        Side.of(FAMILIES["linear"], 0.35, world(False, 1, **knobs), ("velocity",))
        for knobs in ({}, {"shift": 0.25, "stretch": 0.8}, {"shift": 0.4, "stretch": 1.1})
    ]
    loss = mixture_loss_at(REAL, MOVED, taught, data_weight, X, 0.35, gamma)
    expected = lemma_2(*sides, mixture_weights(data_weight, gamma))
    assert float(loss.sum() * (X[1] - X[0])) == pytest.approx(expected, rel=1e-5)


def test_law_2_the_distance_vanishes_at_the_mixture_and_grows_on_both_sides() -> None:
    for row, data_weight in zip(law_2_numbers(), LAMBDAS, strict=True):
        assert row["data_weight"] == row["least_at_share"] == data_weight
        assert row["least"] < 1e-25
        assert (row["at_teacher"] > 0.01) == (data_weight > 0) and (row["at_data"] > 0.01) == (data_weight < 1)
    taught = Mixture((0.9,), (0.6,))
    at = [mixture_distance(REAL, taught.mixed(REAL, share), taught, 0.5) for share in (0.4, 0.5, 0.6)]
    assert at[1] < 1e-25 and min(at[0], at[2]) > 1e-4


@pytest.mark.parametrize("wrong", ["scaled", "shifted"])
def test_the_corrected_teacher_is_where_the_loss_vanishes(wrong: str) -> None:
    """The game's pull, written with any velocity for the generator's, is zero there and at no other velocity."""
    alpha, beta, t = 0.9, 0.95, 0.3
    x, away = torch.linspace(-1, 5, 61, dtype=torch.float64), Mixture((2.0,), (1.0,))
    teacher = {"scaled": lambda x, t: 1.1 * REAL.velocity(x, t), "shifted": lambda x, t: REAL.velocity(x, t) + 0.3}[
        wrong
    ]
    p, q, f = (v.numpy() for v in (REAL.density(x, t), away.density(x, t), REAL.velocity(x, t)))
    f_wrong = teacher(x, t).numpy()

    def pull(f_g):
        on_generated = -2 * alpha * f_wrong + 2 * beta * f_g  # d/d delta of Lemma 3's split form at delta = 0
        on_real = -2 * (1 - alpha) * f_wrong + 2 * (1 - beta) * f
        return q * on_generated + p * on_real

    corrected = corrected_teacher(REAL, away, alpha, beta, x, t, teacher).numpy()
    np.testing.assert_allclose(pull(corrected), 0, atol=1e-12)
    assert (np.abs(pull(corrected + 0.1)) > 1e-6).all()


def test_figure_3_only_a_ratio_other_than_one_sees_the_uncovered_mode() -> None:
    rows = {(row["alpha"], row["beta"]): row["share_at_uncovered_mode"] for row in figure_3_numbers()}
    assert rows[1.0, 1.0] < 1e-3 and rows[0.9, 0.9] < 1e-6
    assert rows[0.9, 0.85] > 0.5 and rows[0.9, 0.95] > 0.5


def test_figure_4_a_scaled_teacher_is_corrected_by_its_own_factor() -> None:
    for row in figure_4_numbers()["scales"]:
        assert row["best_ratio"] == pytest.approx(row["factor"], abs=0.005)
        assert row["left_by_ratio"][f"{row['factor']:g}"] < 1e-3
        assert row["left_by_ratio"]["1"] == pytest.approx(1, abs=1e-4)
        assert row["left_by_ratio"][f"{2 - row['factor']:g}"] > 1.5  # the other way makes it worse


def test_figure_4_a_shifted_teacher_is_corrected_within_a_range_of_velocities() -> None:
    rows = figure_4_numbers()["shifts"]
    for row in rows:
        better, worse = ("0.9", "0.94"), ("1.06", "1.1")
        if row["shift"] < 0:
            better, worse = worse, better
        assert all(row["left_by_ratio"][ratio] < 0.65 for ratio in better)
        assert all(row["left_by_ratio"][ratio] > 1.5 for ratio in worse)


@pytest.mark.parametrize("ratio", [0.9, 0.98, 1.04])
@pytest.mark.parametrize("shift", [0.3, -0.2])
def test_the_range_of_corrected_velocities_by_brute_force(ratio: float, shift: float) -> None:
    low, high = corrected_range(shift, ratio)
    f = np.linspace(-40, 40, 8001)
    improved = f[np.abs((f + shift) / ratio - f) < abs(shift)]
    assert improved.min() == pytest.approx(low, abs=0.011) and improved.max() == pytest.approx(high, abs=0.011)


@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 1.0), (0.9, 0.9)])
def test_where_a_student_covers_the_data_real_data_enlarges_the_teacher_s_error(alpha: float, beta: float) -> None:
    """There f^g = f* + (f~ - f*) / beta: a mean that is off by 0.4 becomes one off by 0.4 / beta."""
    student = best_student(REAL, alpha, beta, Mixture((0.8,), (0.8,)).velocity, steps=12)
    assert student.means[0] - 0.4 == pytest.approx(0.4 / beta, rel=5e-3)


def test_the_best_student_is_a_minimum() -> None:
    teacher = Mixture((0.7,), (0.8,)).velocity
    student = best_student(REAL, 0.9, 0.94, teacher, steps=12)

    def value(mean, std):
        return distance(REAL, Mixture((mean,), (std,)), 0.9, 0.94, teacher)

    (mean,), (std,) = student.means, student.stds
    here = value(mean, std)
    assert slope(lambda v: value(v, std), mean, pinned=False) == pytest.approx(0, abs=1e-5)
    assert min(value(mean + 0.05, std), value(mean - 0.05, std), value(mean, std + 0.05)) > here
