"""The report needs nothing beside it, and says what results.json says."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from conftest import small_teacher
from html_pages import Page
from PIL import Image

from realuid.cli.demo import results_table
from realuid.data import grid_image
from realuid.models import Generator
from realuid.reading import read_jsonl
from realuid.reports import write_report
from realuid.reports.page import ShownSettings
from realuid.text import effect_of_real_data


def entry(name: str, fd: float, **extra) -> dict:
    figures = {"name": name, "calls": 1, "samples": 40, "fd": [fd - 1, fd + 1], "fd_mean": fd, "fd_std": 1.414}
    return {**figures, "kid": 0.00123, "precision": 0.81, "recall": 0.62, "train_seconds": 31.7, **extra}


RESULTS = {
    "recipe": "tiny <b>",
    "data": "digits",
    "extractor": "classifier-x",
    "fd_between_halves": 20.25,
    "teacher": entry("teacher", 3.5, calls=3, images_per_second=1234.0),
    "students": [entry("data-free", 14.0, label="0.9, 0.92", images_per_second=43190.0)],
    "seconds": 99.0,
    "threads": 2,
    "device": "cpu",
    "torch": "2",
    "realuid": "0",
}


SETTINGS = ShownSettings("name: tiny <b>\n", [("distill.alpha", "0.9", "1.0")])


@pytest.fixture
def html(tmp_path: Path, digits) -> str:
    teacher = small_teacher()
    for name in ("teacher", "data-free"):
        (tmp_path / name).mkdir()
    lines = [{"update": 2, "gap_by_time": [1.0, None, 0.5]}, {"update": 2, "fd": 30.0}, {"update": 4, "fd": 14.0}]
    (tmp_path / "data-free" / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    models = {"teacher": teacher, "data-free": Generator(teacher)}
    path = write_report(tmp_path, RESULTS, models, digits, SETTINGS, steps=2)
    return path.read_text()


@pytest.mark.parametrize(
    ("fd_with", "verdict"),
    [
        (0.14, "made no difference that could be measured."),
        (0.1, "lowered it by 0.050."),
        (0.25, "raised it by 0.100."),
    ],
)
def test_a_sentence_says_what_real_data_did(fd_with: float, verdict: str) -> None:
    """Of the best student with real data and the best without; a difference counts beyond the larger spread, 0.02."""
    rows = [
        entry("uid", 0.15, fd_std=0.01, real_data=False),
        entry("worse", 0.9, fd_std=0.5, real_data=False),
        entry("real", fd_with, fd_std=0.02, real_data=True),
        entry("gan", 0.99, fd_std=0.001, real_data=True),
    ]
    said = effect_of_real_data({"students": rows})
    assert said is not None and verdict in said
    assert f"FD is {fd_with:.3f} with real data ('real') and 0.150 without ('uid')" in said


@pytest.mark.parametrize("uses", [True, False, None])
def test_no_sentence_without_a_comparison(uses: bool | None) -> None:
    assert effect_of_real_data({"students": [entry("a", 1.0, real_data=uses), entry("b", 2.0, real_data=uses)]}) is None


def test_the_sentence_stands_in_the_report(tmp_path: Path, digits) -> None:
    rows = [entry(n, 14.0, label="1, 1", images_per_second=9.0, real_data=n == "real") for n in ("free", "real")]
    models = {"teacher": small_teacher(), "free": Generator(small_teacher()), "real": Generator(small_teacher())}
    page = write_report(tmp_path, RESULTS | {"students": rows}, models, digits, SETTINGS, steps=2).read_text()
    assert "What real data did." in page and "real data made no difference" in page


def test_it_points_to_nothing_outside(html: str) -> None:
    page = Page(html)
    assert page.outside() == [] and len(page.addresses) >= 3
    assert not re.search(r"@import|url\((?!#)|<script[^>]|fetch\(|XMLHttp", html)


def test_its_table_holds_the_figures(html: str) -> None:
    head, teacher, student = (row for row in Page(html).rows[:3])
    assert head == []
    assert teacher[0] == "teacher" and teacher[2:4] == ["3", "3.500 ± 1.414"] and teacher[8:10] == ["1,234", "1.0×"]
    assert student[:5] == ["data-free", "0.9, 0.92", "1", "14.000 ± 1.414", "4.0"]
    assert student[5:] == ["0.0012", "0.810", "0.620", "43,190", "35.0×", "32 s"]
    assert "20.25" in html and "name: tiny &lt;b&gt;" in html


def test_its_images_decode_and_the_last_is_real_data(html: str, digits) -> None:
    images = [Image.open(io.BytesIO(base64.b64decode(src.partition(",")[2]))) for src in Page(html).images]
    under, over, teacher, student, real = (np.asarray(image) for image in images)  # two to compare, then all
    assert np.array_equal(real, np.asarray(grid_image(digits.values[:49], 7)))
    assert teacher.shape == student.shape == real.shape and not np.array_equal(teacher, student)
    assert np.array_equal(under, teacher) and np.array_equal(over, student)


def test_curves_are_drawn_where_there_are_evaluations(html: str) -> None:
    assert html.count("<svg") == 1 and "FD over updates" in html and 'data-values="2,30 4,14"' in html


def test_the_answer_comes_first_and_settings_are_folded_away(html: str) -> None:
    head = "<h1>1 network call instead of 3: 35× faster, 4× the teacher&#39;s FD</h1>"
    assert 0 < html.index(head) < html.index("<img") < html.index("<table") < html.index("<details")
    assert "<tr><td>distill.alpha</td><td>0.9</td><td>1.0</td></tr>" in html


def test_every_number_of_calls_has_a_column(tmp_path: Path, digits) -> None:
    teacher = small_teacher()
    students = [entry("one", 9.0, images_per_second=400.0), entry("three", 4.0, calls=3, images_per_second=150.0)]
    students[1]["by_calls"] = [{"calls": n, "fd_mean": fd} for n, fd in ((1, 10.5), (2, 6.25), (3, 4.0))]
    results = RESULTS | {"students": students}
    models = {"teacher": teacher, "one": Generator(teacher), "three": Generator(teacher, calls=3)}
    page = Page(write_report(tmp_path, results, models, digits, SETTINGS, steps=2).read_text())
    assert [row[4:8] for row in page.rows[1:4]] == [
        ["1.0", "", "", "0.0012"],
        ["2.6", "", "", "0.0012"],
        ["1.1", "10.500", "6.250", "0.0012"],
    ]
    table = results_table({**results, "students": [student | {"label": "1, 1"} for student in students]})
    columns = {c.header.replace("\n", " "): list(c.cells) for c in table.columns}
    assert columns["FD, 1 call"] == ["", "", "10.500"] and columns["FD, 2 calls"] == ["", "", "6.250"]
    assert "FD, 3 calls" not in columns and columns["calls"] == ["3", "1", "3"]


def test_pairs_are_compared_at_every_number_of_calls(tmp_path: Path, digits) -> None:
    teacher, restored = small_teacher(), {"psnr": 30.0, "consistency": 0.1, "accuracy": 0.9}
    three = entry("three", 4.0, calls=3, images_per_second=150.0) | restored
    three["by_calls"] = [{"calls": n, "fd_mean": 4.0, "psnr": psnr} for n, psnr in ((1, 28.5), (2, 29.25), (3, 30.0))]
    results = RESULTS | {"teacher": RESULTS["teacher"] | restored | {"psnr": 31.0}, "students": [three]}
    models = {"teacher": teacher, "three": Generator(teacher, calls=3)}
    page = Page(write_report(tmp_path, results, models, digits, SETTINGS, steps=2).read_text())
    assert "<th>PSNR</th><th>PSNR, 1 call</th><th>PSNR, 2 calls</th><th>consistency</th>" in page.html
    cells = [row[row.index(own) :][:4] for row, own in zip(page.rows[1:3], ("31.00 dB", "30.00 dB"), strict=True)]
    assert cells == [["31.00 dB", "", "", "0.1000"], ["30.00 dB", "28.50 dB", "29.25 dB", "0.1000"]]


def test_damaged_lines_of_metrics_are_passed_over(tmp_path):
    (tmp_path / "metrics.jsonl").write_bytes(b'{"update": 1, "fd": 2.0}\n{"upd\xffte": 2\n3\n{"update": 4}\n{"up')
    assert read_jsonl(tmp_path / "metrics.jsonl") == [{"update": 1, "fd": 2.0}, {"update": 4}]
    assert read_jsonl(tmp_path / "nowhere.jsonl") == []
