"""The effect of the coefficients for Gaussians in one dimension: the paper's Figures 3 and 4, and law 2."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from realuid.errors import CheckpointError, ConfigError
from realuid.files import atomic_file, check_writable, is_empty, write_json
from realuid.objectives.analysis import (
    Field,
    Mixture,
    best_student,
    corrected_range,
    corrected_teacher,
    distance,
    loss_at,
    mixture_distance,
)
from realuid.reading import read_json
from realuid.reports.plots import COLOURS, plt

#: The file with the numbers, by which a folder is known as ours.
_NUMBERS = "analysis.json"
#: Two modes of data, of which the generator covers the left one only.
TWO_MODES = Mixture((-2.0, 2.0), (0.4, 0.4), (0.5, 0.5))
ONE_MODE = Mixture((-2.0,), (0.4,))
#: Figure 3: coefficients without and with beta / alpha = 1.
SURFACES = ((1.0, 1.0), (0.9, 0.9), (0.9, 0.85), (0.9, 0.95))
#: Figure 4: a generator to the right of the data, at this time; the data fades away from left to right.
DATA, AWAY, TIME, ALPHA = Mixture((0.0,), (1.0,)), Mixture((3.0,), (1.0,)), 0.3, 0.9
SCALES, SHIFTS, RATIOS = (0.9, 1.1), (0.3, -0.3), (0.9, 0.94, 1.0, 1.06, 1.1)
#: Law 2: a teacher that is shifted, too wide and wrong about the weights of the modes.
WRONG_TEACHER = Mixture((-1.2, 2.2), (0.6, 0.5), (0.8, 0.2))
LAMBDAS = (0.0, 0.25, 0.5, 0.75, 1.0)
#: For comparison: a published pair of coefficients.
PUBLISHED = (0.96, 0.98)
#: Data is rare where it is that many times less dense than generated samples.
RARE = 1e-3


def _rare() -> torch.Tensor:
    x = torch.linspace(0.0, 9.0, 1801, dtype=torch.float64)
    return x[DATA.density(x, TIME) < RARE * AWAY.density(x, TIME)]


def _scaled(factor: float) -> Field:
    return lambda x, t: factor * DATA.velocity(x, t)


def _shifted(by: float) -> Field:
    return lambda x, t: DATA.velocity(x, t) + by


def figure_3_numbers() -> list[dict[str, float]]:
    """For every pair of coefficients: the total loss, and the share of it on the side of the uncovered mode."""
    x = torch.linspace(-7, 7, 1401, dtype=torch.float64)
    rows = []
    for alpha, beta in SURFACES:
        surface = torch.stack([loss_at(TWO_MODES, ONE_MODE, alpha, beta, x, t) for t in _early_times()])
        share = float(surface[:, x > 1].sum() / surface.sum())
        total = float(surface.mean(0).sum() * (x[1] - x[0]))
        rows.append({"alpha": alpha, "beta": beta, "loss": total, "share_at_uncovered_mode": share})
    return rows


def _early_times() -> list[float]:
    """Times at which the modes are still apart."""
    return [i / 100 for i in range(2, 41, 2)]


def figure_4_numbers() -> dict[str, Any]:
    """How far corrected teachers are from the truth where data is rare, relative to what was wrong, by beta / alpha."""
    x = _rare()
    truth = DATA.velocity(x, TIME)

    def left(teacher: Field, ratio: float) -> float:
        corrected = corrected_teacher(DATA, AWAY, ALPHA, ALPHA * ratio, x, TIME, teacher)
        return float((corrected - truth).norm() / (teacher(x, TIME) - truth).norm())

    fine = [round(0.85 + 0.005 * i, 3) for i in range(53)]
    scales = [
        {
            "factor": factor,
            "left_by_ratio": {f"{ratio:g}": left(_scaled(factor), ratio) for ratio in RATIOS},
            "best_ratio": min(fine, key=lambda ratio: left(_scaled(factor), ratio)),
        }
        for factor in SCALES
    ]
    shifts = [
        {
            "shift": shift,
            "left_by_ratio": {f"{ratio:g}": left(_shifted(shift), ratio) for ratio in RATIOS},
            "improved_between_velocities": {
                f"{ratio:g}": corrected_range(shift, ratio) for ratio in RATIOS if ratio != 1
            },
        }
        for shift in SHIFTS
    ]
    return {"alpha": ALPHA, "time": TIME, "scales": scales, "shifts": shifts}


def student_numbers(shift: float = 0.4) -> list[dict[str, float]]:
    """Where a Gaussian student ends that covers the data and learns from the velocities of data moved by `shift`."""
    real = Mixture((0.0,), (1.5,))
    moved = Mixture((shift,), (1.5,))
    rows = []
    for alpha, beta in ((1.0, 1.0), (0.9, 0.9), (0.9, 0.85), (0.9, 0.95)):
        student = best_student(real, alpha, beta, moved.velocity)
        rows.append({"alpha": alpha, "beta": beta, "mean": student.means[0], "std": student.stds[0], "teacher": shift})
    return rows


def _shares() -> list[float]:
    return [i / 20 for i in range(21)]


def law_2_numbers() -> list[dict[str, float]]:
    """For every lambda: which mixture of teacher and data the game prefers, and its distance for other generators."""
    rows = []
    for data_weight in LAMBDAS:
        values = [_mixture_distance(data_weight, share) for share in _shares()]
        best = min(values)
        rows.append(
            {
                "data_weight": data_weight,
                "least_at_share": _shares()[values.index(best)],
                "least": best,
                "at_teacher": values[0],
                "at_data": values[-1],
            }
        )
    return rows


def _mixture_distance(data_weight: float, share: float) -> float:
    """Of a generator that makes (1 - share) teacher + share data."""
    return mixture_distance(TWO_MODES, WRONG_TEACHER.mixed(TWO_MODES, share), WRONG_TEACHER, data_weight)


def law_2_figure() -> Figure:
    """What students of a wrong teacher learn at every lambda, and the game's distance over mixtures of both."""
    x = torch.linspace(-4.5, 5, 476, dtype=torch.float64)
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4), layout="constrained")
    left.fill_between(x, TWO_MODES.density(x, 0), color="0.88", label="data")
    left.plot(x, WRONG_TEACHER.density(x, 0), color="0.4", ls="--", lw=2, label="teacher")
    for colour, data_weight in zip(COLOURS, LAMBDAS, strict=False):
        student = WRONG_TEACHER.mixed(TWO_MODES, data_weight)
        left.plot(x, student.density(x, 0), color=colour, lw=1.2, label=f"student, λ = {data_weight:g}")
        values = [_mixture_distance(data_weight, share) for share in _shares()]
        right.plot(_shares(), values, color=colour, lw=1.5, label=f"λ = {data_weight:g}")
    alpha, beta = PUBLISHED
    mixtures = [WRONG_TEACHER.mixed(TWO_MODES, share) for share in _shares()]
    values = [distance(TWO_MODES, mixture, alpha, beta, WRONG_TEACHER.velocity) for mixture in mixtures]
    right.plot(_shares(), values, color="black", ls=":", lw=1.5, label=f"RealUID, α = {alpha:g}, β = {beta:g}")
    left.set(title="p = (1 - λ) teacher + λ data", xlabel="x", ylabel="density")
    right.set(
        title="distance of the game, zero at the share λ of data",
        xlabel="share of the data in what the generator makes",
        ylim=(0, None),
    )
    for axis in (left, right):
        axis.legend(frameon=False, fontsize=7)
        axis.grid(alpha=0.25)
    return figure


def figure_3() -> Figure:
    """The loss over (x, t) for each pair of coefficients, and a cut through it."""
    x = torch.linspace(-4.5, 4.5, 451, dtype=torch.float64)
    times = [i / 100 for i in range(2, 100, 2)]
    surfaces = [torch.stack([loss_at(TWO_MODES, ONE_MODE, a, b, x, t) for t in times]) for a, b in SURFACES]
    figure, axes = plt.subplots(1, len(SURFACES) + 1, figsize=(17, 3.4), layout="constrained")
    scale = LogNorm(1e-4, float(max(s.max() for s in surfaces)))
    for axis, surface, (alpha, beta) in zip(axes, surfaces, SURFACES, strict=False):
        image = axis.pcolormesh(x, times, surface.clamp(min=1e-4), norm=scale, cmap="viridis", rasterized=True)
        axis.set(title=f"α = {alpha:g}, β = {beta:g}", xlabel="x")
    axes[0].set_ylabel("t (0 is data)")
    figure.colorbar(image, ax=list(axes[:-1]), label="loss at (x, t)", shrink=0.9)
    cut, t = axes[-1], 0.2
    behind = cut.twinx()
    behind.fill_between(x, TWO_MODES.density(x, t), color="0.88", label="data")
    behind.fill_between(x, ONE_MODE.density(x, t), color="0.6", alpha=0.4, label="generator")
    behind.set(ylim=(0, 2.5), yticks=[])
    for colour, style, (alpha, beta) in zip(COLOURS, ("-", "--", "-", ":"), SURFACES, strict=False):
        loss = loss_at(TWO_MODES, ONE_MODE, alpha, beta, x, t)
        cut.plot(x, loss, color=colour, ls=style, lw=2, label=f"α = {alpha:g}, β = {beta:g}")
    cut.set(title=f"at t = {t}", xlabel="x", ylim=(0, 0.13), zorder=1)
    cut.patch.set_visible(False)
    cut.legend(frameon=False, fontsize=7, loc="upper left")
    behind.legend(frameon=False, fontsize=7, loc="upper right")
    return figure


def figure_4() -> Figure:
    """Velocities of wrong teachers and of what students of theirs are drawn to, where the data fades away."""
    x = torch.linspace(0.5, 5.5, 401, dtype=torch.float64)
    truth = DATA.velocity(x, TIME)
    wrongs = [(f"at {c:g} times the true speed", _scaled(c)) for c in SCALES] + [
        (f"off by {d:g}", _shifted(d)) for d in SHIFTS
    ]
    figure, axes = plt.subplots(1, len(wrongs), figsize=(17, 3.6), layout="constrained", sharey=True)
    for axis, (title, teacher) in zip(axes, wrongs, strict=True):
        axis.axvspan(float(_rare()[0]), 5.5, color="0.94")
        axis.plot(x, torch.zeros_like(x), color="black", lw=1.5, label="the truth, f*")
        axis.plot(x, teacher(x, TIME) - truth, color="0.5", ls="--", lw=2, label="teacher")
        for colour, ratio in zip(COLOURS, RATIOS, strict=False):
            corrected = corrected_teacher(DATA, AWAY, ALPHA, ALPHA * ratio, x, TIME, teacher)
            axis.plot(x, corrected - truth, color=colour, lw=1.2, label=f"β/α = {ratio:g}")
        axis.set(title=f"teacher {title}", xlabel="x (shaded: hardly any data)", ylim=(-0.8, 0.8))
        axis.grid(alpha=0.25)
    axes[0].set_ylabel("velocity, minus the true one")
    axes[0].legend(frameon=False, fontsize=7, ncol=2, loc="lower left")
    return figure


def write_analysis(folder: Path) -> dict[str, Any]:
    """Write analysis.json, figure3.png, figure4.png and law2.png; returns what the first one holds.

    Raises:
        ConfigError: for a folder with something else in it.
    """
    check_writable(folder / _NUMBERS)
    if not is_empty(folder) and not _is_analysis(folder):
        raise ConfigError(f"'{folder}' is not empty, and `realuid analyze` did not write it. Pass a new folder.")
    numbers = {
        "figure_3": figure_3_numbers(),
        "figure_4": figure_4_numbers(),
        "students": student_numbers(),
        "law_2": law_2_numbers(),
    }
    write_json(folder / _NUMBERS, numbers)  # first: a run that is killed can be repeated
    for name, figure in (("figure3.png", figure_3()), ("figure4.png", figure_4()), ("law2.png", law_2_figure())):
        with atomic_file(folder / name) as temporary:
            figure.savefig(temporary, format="png", dpi=110)
        plt.close(figure)
    return numbers


def _is_analysis(folder: Path) -> bool:
    try:
        return {"figure_3", "figure_4"} <= read_json(folder / _NUMBERS).keys()
    except CheckpointError:
        return False
