"""Names and texts of strangers are shown as they are: no markup, no escape sequence, no heading, no HTML."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest
import yaml
from conftest import small_teacher
from markdown_it import MarkdownIt
from PIL import Image

from realuid.cli.main import main
from realuid.exports import export_student
from realuid.models import Generator, MatchingModel, NetworkConfig, build_network, save_pretrained
from realuid.paths import BrownianBridge
from realuid.reports.charts import line_chart
from realuid.reports.page import ShownSettings
from realuid.reports.sweep import write_sweep_report

#: rich's markup, closed and not, and one of its emoji; then what moves a terminal's cursor or turns its text around.
MARKUP = "a[/b] [red]c:smile:"
HOSTILE = "x\x1b[2J\x9b31m\x08\u202ey"
SPELLED = "x\\u001b[2J\\u009b31m\\b\\u202ey"


@pytest.fixture
def generator(tmp_path: Path) -> Path:
    return save_pretrained(Generator(small_teacher(num_classes=3)), tmp_path / "g")


def commands(folder: Path, generator: Path, moons: Path, teacher: Path, bridge: Path, images: Path) -> dict[str, tuple]:
    train = ("train", moons, "--out", folder / "t")
    distill = ("distill", moons, "--teacher", teacher, "--trust-teacher", "--out", folder / "s")
    return {
        "train": (*train, folder / "t"),
        "distill": (*distill, folder / "s"),
        "sample": ("sample", generator, "--count", 3, "--out", folder / "x.zip", folder / "x.zip"),
        "convert": ("convert", generator, folder / "c", folder / "c"),
        "export": ("export", generator, folder / "e.safetensors", "--to", "safetensors", folder / "e.safetensors"),
        "info": ("info", folder / "c", folder / "c"),
        "restore": ("restore", bridge, images, folder / "r.zip", "--steps", 1, folder / "r.zip"),
        "analyze": ("analyze", "--out", folder / "a", folder / "a"),
        "evaluate": ("evaluate", folder / "none", folder / "none"),
    }


@pytest.mark.slow
def test_names_in_brackets_are_no_markup(generator, moons, points_teacher, tmp_path, realuid) -> None:
    network = build_network(NetworkConfig(channels=(8, 16), blocks=1, attention_at=()), (1, 8, 8), 0, True)
    bridge = save_pretrained(MatchingModel(network, BrownianBridge()), tmp_path / "bridge")
    (tmp_path / "images").mkdir()
    Image.new("L", (8, 8), 7).save(tmp_path / "images" / "i.png")
    lines = commands(tmp_path / MARKUP, generator, moons, points_teacher, bridge, tmp_path / "images")
    for command, (*words, shown) in lines.items():
        code, said = realuid(*words)
        assert code == (2 if command == "evaluate" else 0), said
        assert str(shown) in said, command


def test_a_finished_run_in_a_folder_with_brackets_is_a_success(moons: Path, tmp_path: Path, realuid) -> None:
    code, said = realuid("train", moons, "--out", tmp_path / "run[/x]")
    assert code == 0 and f"teacher: {tmp_path}/run[/x] next: realuid" in said


def test_no_command_prints_what_moves_the_cursor(generator: Path, tmp_path: Path, realuid) -> None:
    config = json.loads((generator / "config.json").read_text())
    (generator / "config.json").write_text(json.dumps({**config, "teacher": HOSTILE}))
    (generator / "checksums.json").unlink()
    folder = tmp_path / HOSTILE
    folder.mkdir()
    Image.new("L", (8, 8), 7).save(folder / "a.png")
    for words in (
        ("info", generator),
        ("info", folder),
        ("convert", generator, folder / "c"),
        ("sample", folder / "none"),
        ("sample", generator, "--classes", HOSTILE),
        ("sample", generator, "--count", 3, "--out", folder / "x.zip"),
    ):
        _, said = realuid(*words)
        assert SPELLED in said and not any(c in said for c in HOSTILE[1:] if not c.isprintable()), said


def test_json_of_models_is_still_json(generator: Path, capsys) -> None:
    config = json.loads((generator / "config.json").read_text())
    (generator / "config.json").write_text(json.dumps({**config, "teacher": HOSTILE + "ä[/b]"}))
    (generator / "checksums.json").unlink()
    assert main(["info", str(generator)]) == 0
    said = capsys.readouterr().out
    assert json.loads(said[said.index("{") :])["teacher"] == HOSTILE + "ä[/b]" and "ä[/b]" in said


def test_names_that_are_no_text_are_printed(generator: Path, tmp_path: Path, monkeypatch) -> None:
    """Bytes of a file name that are not UTF-8, on a terminal that knows ASCII only."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="ascii") for _ in range(2))
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    assert main(["convert", str(generator), f"{tmp_path}/\udcff\xe4"]) == 0
    assert main(["convert", str(generator) + "\udcff\xe4", f"{tmp_path}/b"]) == 2
    for stream in (out, err):
        stream.flush()
        assert b"\\udcff\\xe4" in stream.buffer.getvalue()  # type: ignore[attr-defined]


def test_recipes_have_no_characters_that_nobody_sees(tmp_path: Path, realuid) -> None:
    path = tmp_path / "r.yaml"
    path.write_text('base: demo\ndata: {source: "a\\e[2J"}\n')
    code, said = realuid("train", path, "--help")
    assert code == 2 and "the text 'a\\u001b[2J' has characters that cannot be seen" in said
    path.write_text('base: demo\ndescription: "two\\n\\tlines: \\u00e4 \\U0001F600"\n')
    assert realuid("info", path)[0] == 0


# -- l05: model cards and pages ------------------------------------------------------------------------------------

INJECTION = (
    "x |\n\n# Injected\n\n<script>alert(1)</script>\n\n[click](javascript:alert(1)) ![i](http://e/i.png) ```\n| a | b |"
)


def rendered(folder: Path) -> str:
    text = (folder / "README.md").read_text().split("---\n", 2)[2]
    return MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(text)


@pytest.mark.parametrize(
    "about",
    [
        {"teacher": INJECTION},
        {"data": {"source": INJECTION}},
        {"data": INJECTION, "distillation": INJECTION},
        {"distillation": {"alpha": INJECTION, "beta": [INJECTION]}},
        {"measurement": {"fd_mean": INJECTION, "fd": {}, "extractor": INJECTION, "samples": None}},
        {"measurement": [INJECTION], "teacher": 7, "data": None},
        {INJECTION: INJECTION},
    ],
)
def test_a_card_shows_what_files_say_as_it_is(about: dict, tmp_path: Path) -> None:
    student = save_pretrained(Generator(small_teacher()), tmp_path / "g", **about)
    plain = save_pretrained(Generator(small_teacher()), tmp_path / "p")
    for source, out in ((student, "card"), (plain, "other")):
        export_student(source, tmp_path / out, "diffusers")
    html, usual = rendered(tmp_path / "card"), rendered(tmp_path / "other")
    for element in ("<h1", "<h2", "<script", "<a ", "<img", "<pre", "<td", "<table"):
        more = 2 if element == "<td" and "measurement" in about and isinstance(about["measurement"], dict) else 0
        assert html.count(element) == usual.count(element) + more, element
    assert "# Injected" not in (tmp_path / "card" / "README.md").read_text().splitlines()


def test_a_card_in_a_folder_with_an_odd_name(tmp_path: Path) -> None:
    folder = tmp_path / 'a "]) [b](c) *d* <i>'
    export_student(Generator(small_teacher()), folder, "diffusers")
    html = rendered(folder)
    assert "<h1>a &quot;]) [b](c) *d* &lt;i&gt;</h1>" in html and html.count("<a ") == 1
    code = html.split('<code class="language-python">')[1]
    assert "a \\&quot;]) [b](c) *d* &lt;i&gt;&quot;)" in code.split("</code>")[0]


@pytest.mark.parametrize("licence", ["mit\ntags: [x]", "<b>", "a b", "-mit", "x" * 200])
def test_a_licence_is_an_identifier(licence: str, generator: Path, tmp_path: Path, realuid) -> None:
    code, said = realuid("export", generator, tmp_path / "c", "--to", "diffusers", "--licence=" + licence)
    assert code == 2 and "is no identifier of a licence" in said and not (tmp_path / "c").exists()


def test_pages_and_plots_show_names_as_they_are(tmp_path: Path) -> None:
    settings = {"alpha": 1.0, "ratio": 1.0}
    row = {"settings": settings, "beta": 1.0, "fd_mean": 2.0, "fd_std": None, "status": [], "finished": 1, "trials": 1}
    results = {"recipe": INJECTION, "objective": "realuid", "teacher": INJECTION, "trials": 1, "settings": [row]}
    trial = {"settings": settings, "status": "finished", "history": [{"update": 1, "fd": 2.0}]}
    settings = ShownSettings(yaml.safe_dump({"name": INJECTION}))
    page = write_sweep_report(tmp_path, results, [trial], settings).read_text()
    assert page.count("<script") == 1 and page.count("&lt;script&gt;") >= 3  # one is the page's own
    names = ["$\\frac{a", "_hidden", "<script>"]
    chart = line_chart({name: [(1, 2.0), (2, 1.0)] for name in names}, {"<script>": 1})
    assert "<script" not in chart and chart.count("&lt;script&gt;") == 4
    assert "$\\frac{a</span>" in chart and "_hidden</span>" in chart
