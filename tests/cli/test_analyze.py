"""`realuid analyze`: the numbers behind the figures, against what the theory says they are."""

from __future__ import annotations

import contextlib
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from realuid.cli.main import main


@pytest.fixture(scope="module")
def analysis(tmp_path_factory):
    """The folder that the command writes, the numbers in it, and what it says."""
    folder, said = tmp_path_factory.mktemp("analysis"), io.StringIO()
    with contextlib.redirect_stdout(said):
        assert main(["analyze", "--out", str(folder)]) == 0
    return folder, json.loads((folder / "analysis.json").read_text()), said.getvalue()


def lemma_2(alpha: float, beta: float) -> tuple[float, float]:
    """The loss and its share at x > 1, for data at -2 and 2 and a generator at -2 alone, all of standard deviation 0.4;
    integrated over x, mean over t = 0.02, 0.04, ..., 0.4.
    """
    x = np.linspace(-7, 7, 1401)
    total = right = 0.0
    for t in np.arange(1, 21) / 50:
        variance = (0.4 * (1 - t)) ** 2 + t**2
        at = [x - (1 - t) * mean for mean in (-2, 2)]
        densities = [np.exp(-(d**2) / (2 * variance)) / np.sqrt(2 * np.pi * variance) for d in at]
        velocities = [d * (t - 0.16 * (1 - t)) / variance - mean for d, mean in zip(at, (-2, 2), strict=True)]
        q, f_g = densities[0], velocities[0]
        p = sum(densities) / 2
        f = sum(d * v for d, v in zip(densities, velocities, strict=True)) / sum(densities)
        pull = q * (alpha * f - beta * f_g) + p * (beta - alpha) * f
        loss = pull**2 / ((1 - alpha) * p + alpha * q)
        total, right = total + loss.sum(), right + loss[x > 1].sum()
    return total / 20 * (x[1] - x[0]), right / total


@pytest.mark.slow
def test_figure_3_is_lemma_2(analysis) -> None:
    rows = analysis[1]["figure_3"]
    assert [(row["alpha"], row["beta"]) for row in rows] == [(1, 1), (0.9, 0.9), (0.9, 0.85), (0.9, 0.95)]
    for row in rows:
        loss, share = lemma_2(row["alpha"], row["beta"])
        assert row["loss"] == pytest.approx(loss, rel=1e-6)
        assert row["share_at_uncovered_mode"] == pytest.approx(share, rel=1e-6, abs=1e-9)


@pytest.mark.slow
def test_figure_4_where_data_is_rare_a_student_learns_the_teacher_times_alpha_over_beta(analysis) -> None:
    for row in analysis[1]["figure_4"]["scales"]:
        for ratio, left in row["left_by_ratio"].items():
            # ||(c / r - 1) f*|| / ||(c - 1) f*||
            expected = abs(row["factor"] / float(ratio) - 1) / abs(row["factor"] - 1)
            assert left == pytest.approx(expected, abs=2e-3)


def test_a_student_that_covers_the_data_is_off_by_the_teacher_s_error_over_beta(analysis) -> None:
    for row in analysis[1]["students"]:
        assert row["mean"] == pytest.approx(row["teacher"] / row["beta"], rel=0.02)


def test_law_2_a_student_of_the_mixture_objective_is_the_mixture(analysis) -> None:
    for row in analysis[1]["law_2"]:
        assert (
            row["least_at_share"] == pytest.approx(row["data_weight"])
            and row["least"] < 1e-8 * row["at_teacher"] + 1e-12
        )
        assert row["at_teacher"] > row["least"] or row["data_weight"] == 0
        assert (
            f"data_weight = {row['data_weight']:g}: zero at a student that is {row['data_weight']:.0%}" in analysis[2]
        )


def test_the_terminal_and_the_pictures_show_the_numbers(analysis) -> None:
    folder, numbers, said = analysis
    shares = [float(share) / 100 for share in re.findall(r"([\d.]+)% of the loss", said)]
    assert shares == pytest.approx([row["share_at_uncovered_mode"] for row in numbers["figure_3"]], abs=5.1e-5)
    best = [float(ratio) for ratio in re.findall(r"best beta / alpha = ([\d.]+)", said)]
    assert best == [row["best_ratio"] for row in numbers["figure_4"]["scales"]]
    means = [float(mean) for mean in re.findall(r"student off by ([\d.]+)", said)]
    assert means == pytest.approx([row["mean"] for row in numbers["students"]], abs=5.1e-4)
    for name, size in (("figure3.png", (1870, 374)), ("figure4.png", (1870, 396)), ("law2.png", (1320, 440))):
        with Image.open(folder / name) as picture:
            assert picture.size == size and len(picture.convert("RGB").getcolors(2**20)) > 200


def test_a_folder_with_pictures_of_others_is_left_alone(tmp_path, capsys) -> None:
    (tmp_path / "figure3.png").write_bytes(b"mine")
    assert main(["analyze", "--out", str(tmp_path)]) == 2
    assert "is not empty, and `realuid analyze` did not write it" in capsys.readouterr().err
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("figure3.png", b"mine")]


def test_the_folder_of_an_analysis_is_written_again(tmp_path, monkeypatch) -> None:
    from realuid.reports import analysis as made

    for name in ("figure_3_numbers", "figure_4_numbers", "student_numbers", "law_2_numbers"):
        monkeypatch.setattr(made, name, list)

    def killed():
        raise KeyboardInterrupt

    monkeypatch.setattr(made, "figure_3", killed)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            made.write_analysis(tmp_path / "a")
