"""Sliders and curves of the pages of runs in headless Chromium, without an error on the console."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from realuid.data import save_grid
from realuid.recipes import Recipe, dump_recipe
from realuid.recipes.pages import compare_runs, grow_page
from realuid.training.folder import mark

pytestmark = pytest.mark.slow


def run_folder(folder: Path, shade: float) -> Path:
    """A run in progress with two sample grids: a tile of another shade each."""
    folder.mkdir(parents=True)
    mark(folder)
    (folder / "recipe.yaml").write_text(dump_recipe(Recipe()))
    lines = [{"update": u, "fake/loss": 1.0, "fd": 100.0 / u, "gap_by_time": [0.1, u]} for u in (10, 20, 50)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for i, update in enumerate((10, 50)):
        tiles = torch.linspace(-1, 1, 64).reshape(64, 1, 1, 1).expand(64, 1, 8, 8)
        save_grid((tiles + shade + i).clamp(-1, 1), folder / "samples" / f"{update:07d}.png", 8)
    return folder


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_of_a_run(tab, width: int, tmp_path: Path) -> None:
    tab.set_viewport_size({"width": width, "height": 900})
    folder = run_folder(tmp_path / "run", 0.0)
    grow_page(folder)
    tab.goto((folder / "report.html").as_uri())
    assert tab.evaluate("document.documentElement.scrollWidth") == width
    assert tab.locator("[data-film] img:visible").get_attribute("alt") == "update 50"
    tab.locator("[data-film] input").fill("0")
    assert tab.locator("[data-film] img:visible").get_attribute("alt") == "update 10"
    assert tab.locator("[data-film] output").inner_text() == "update 10"
    chart = tab.locator(".chart svg").first
    box = chart.bounding_box()
    chart.scroll_into_view_if_needed()
    chart.hover(position={"x": box["width"] * (58 + 0.24 * 570) / 640, "y": box["height"] / 2})
    assert tab.locator(".chart output").first.inner_text() == "20: FD 5"


def test_grids_of_the_same_noise_lie_over_each_other(tab, tmp_path: Path) -> None:
    runs = [run_folder(tmp_path / "a", 0.0), run_folder(tmp_path / "b", -0.5)]
    tab.goto(compare_runs(runs, tmp_path / "compare.html").as_uri())
    under, over = tab.locator(".compare img").all()
    assert under.get_attribute("alt") == "a" and over.get_attribute("alt") == "b"
    tab.locator("[data-compare] input").fill("80")
    assert over.evaluate("e => e.style.clipPath") == "inset(0px 0px 0px 80%)"
    tab.locator("[data-compare] select").first.select_option("b")
    assert under.get_attribute("src") == over.get_attribute("src")
    assert tab.locator(".tiles canvas").count() == 2
    pixel = "e => e.getContext('2d').getImageData(50, 50, 1, 1).data[0]"
    box = over.bounding_box()
    tab.mouse.move(box["x"] + box["width"] * 3.5 / 8, box["y"] + box["height"] * 0.5 / 8)  # the fourth tile
    first, second = (canvas.evaluate(pixel) for canvas in tab.locator(".tiles canvas").all())
    values = [-1 + 3 * 2 / 63 + shade + 1 for shade in (0.0, -0.5)]  # of the newest grids
    assert [first, second] == pytest.approx([(value + 1) * 127.5 for value in values], abs=1)
