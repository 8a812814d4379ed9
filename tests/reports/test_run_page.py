"""The page of a run is made from its folder alone, at any time, and shows what is there."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from html_pages import Page

from realuid.cli.main import main
from realuid.data import save_grid
from realuid.recipes import Recipe, dump_recipe
from realuid.recipes.changes import changes
from realuid.recipes.pages import compare_runs, grow_page
from realuid.training import DistillConfig
from realuid.training.folder import mark
from realuid.training.health import Finding, write_findings


def run_folder(folder: Path, fds: list[float], alpha: float = 1.0, beta: float = 1.0) -> Path:
    """The folder of a student's run in progress."""
    folder.mkdir(parents=True)
    mark(folder)
    recipe = Recipe(distill=DistillConfig(updates=1000, alpha=alpha, beta=beta))
    (folder / "recipe.yaml").write_text(dump_recipe(recipe))
    (folder / "teacher.txt").write_text("teacher\n/teacher\n\n")
    lines = [
        {"update": 100 * i, "fake/loss": 1.0, "fd": fd, "fd/ema_0.999": fd, "health/diversity": 0.4}
        for i, fd in enumerate(fds, 1)
    ]
    lines.append({"update": 100 * len(fds), "images": 6000 * len(fds), "images_per_second": 100.0, "gap": 0.5})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"upd')
    for i in range(1, len(fds) + 1):
        save_grid(torch.zeros(64, 1, 8, 8), folder / "samples" / f"{100 * i:07d}.png", 8)
    return folder


def test_a_growing_page(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "a <i>", [5.0, 3.0, 4.0])
    write_findings(folder / "health.json", [Finding("mode collapse", "diversity at 0.4 <b>", "try less")])
    grow_page(folder)
    html = (folder / "report.html").read_text()
    page = Page(html)
    assert "a &lt;i&gt;: update 300 of 1,000: FD 3</h1>" in html and "<i>" not in html
    assert "Lowest FD so far 3, at update 200" in html and "Now 4." in html
    assert "About 7 minutes left" in html  # 700 updates of 60 images at 100 a second
    assert "diversity at 0.4 &lt;b&gt;" in html and "sees nothing wrong" not in html
    assert len(page.images) == 3 and html.count(" hidden>") == 2 and 'max="2"' in html
    assert page.outside() == []
    grow_page(folder)
    assert (folder / "report.html").read_text() == html


def test_a_demo_in_progress_shows_its_runs(tmp_path: Path) -> None:
    mark(tmp_path, "demo")
    grow_page(run_folder(tmp_path / "one", [5.0]))
    grow_page(run_folder(tmp_path / "two", [6.0, 2.0]))
    page = Page((tmp_path / "report.html").read_text())
    assert [row[:5] for row in page.rows[1:3]] == [
        ["one", "100 of 1,000", "5", "100", "5"],
        ["two", "200 of 1,000", "2", "200", "2"],
    ]
    assert 'data-grows="1"' in page.html and 'data-columns="8" data-rows="8"' in page.html


def test_a_page_that_cannot_be_written_does_not_end_the_run(tmp_path: Path, recwarn) -> None:
    mark(tmp_path)
    grow_page(tmp_path)  # there is no recipe
    assert "was not written" in str(recwarn.list[0].message)


def test_a_comparison_names_the_settings_that_differ(tmp_path: Path) -> None:
    runs = [run_folder(tmp_path / "a", [5.0, 4.0]), run_folder(tmp_path / "b", [3.0], 0.96, 0.98)]
    page = Page(compare_runs(runs, tmp_path / "compare.html").read_text())
    assert page.rows[1] == ["a", "200 of 1,000", "4", "200", "4", "default", "default"]
    assert page.rows[2] == ["b", "100 of 1,000", "3", "100", "3", "0.96", "0.98"]
    assert "<th>distill.alpha</th><th>distill.beta</th>" in page.html and "b has the lowest FD: 3" in page.html


def test_the_command_takes_runs_and_demos(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    run_folder(tmp_path / "demo" / "one", [2.0])
    run_folder(tmp_path / "two", [3.0])
    assert main(["compare", "demo", "two", "--out", "c.html"]) == 0
    assert "page: c.html" in capsys.readouterr().out
    assert [row[0] for row in Page((tmp_path / "c.html").read_text()).rows[1:3]] == ["one", "two"]
    (tmp_path / "empty").mkdir()
    for words, said in ((["empty"], "holds none"), (["two", "--out", "a.png"], "called .html"), ([], "no run")):
        assert main(["compare", *words]) == 2 and said in capsys.readouterr().err


def test_changes_are_what_differs_from_the_defaults() -> None:
    recipe = Recipe(
        name="x", distill=DistillConfig(updates=7, ema=(0.5, 0.9)), students={"s": {"alpha": 0.9, "beta": 1.0}}
    )
    usual = DistillConfig()
    assert changes(recipe) == [
        ("distill.updates", "7", str(usual.updates)),
        ("distill.ema", "0.5, 0.9", ", ".join(map(str, usual.ema))),
        ("students.s.alpha", "0.9", ""),
        ("students.s.beta", "1.0", ""),
    ]
    assert changes(recipe, ["students"])[0][0] == "students.s.alpha"
