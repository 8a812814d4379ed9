"""The playground in headless Chromium: samples, seed, class, calls, time, an uploaded image; no console error."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import small_teacher
from PIL import Image
from play.test_player import bridge, prompted

import realuid
from realuid.exports import ExportOptions, load_any
from realuid.models import Generator
from realuid.play import Player, serve

pytest.importorskip("gradio", reason="the extra `play` is not installed")
pytestmark = pytest.mark.slow


def shown(page, name: str = "student") -> str:
    page.wait_for_selector(f"#{name} img")
    return page.get_attribute(f"#{name} img", "src")


def changes(page, act, name: str = "student") -> None:
    """Carry out an action and wait until the picture is another one."""
    before = shown(page, name)
    act()
    page.wait_for_function(
        "([name, before]) => { const i = document.querySelector(`#${name} img`); return i && i.src != before }",
        arg=[name, before],
    )


def sampled(page, address: str) -> None:
    page.goto(address)
    changes(page, lambda: page.click("#again"))
    assert page.input_value("#seed input") == "1"
    page.wait_for_selector("#student-latency >> text=/images in .* ms|images in .* s/")


def choose_class(page, name: str) -> None:
    page.click("#class input")
    page.click(f"[role=option]:has-text('{name}')")


def test_a_student_beside_its_teacher(tab) -> None:
    teacher = small_teacher(num_classes=3)
    sampled(tab, serve(Player(Generator(teacher, calls=2), teacher), "a <b>student"))
    assert "faster than the teacher" in tab.inner_text("#student-latency") or "times" in tab.inner_text(
        "#student-latency"
    )
    assert "50 network calls each" in tab.inner_text("#teacher-latency")
    changes(tab, lambda: choose_class(tab, "2"))
    changes(tab, lambda: tab.click("#calls label:has-text('1')"))
    tab.wait_for_selector("#student-latency >> text=1 network call each")
    assert tab.inner_text("h1") == "a <b>student"


def test_an_onnx_file(tab, tmp_path: Path) -> None:
    options = ExportOptions(graph="call")
    realuid.export(Generator(small_teacher(num_classes=3), calls=2), tmp_path / "s.onnx", "onnx", options=options)
    sampled(tab, serve(Player(load_any(tmp_path / "s.onnx")), "s.onnx"))  # type: ignore[arg-type]
    changes(tab, lambda: choose_class(tab, "1"))
    changes(tab, lambda: tab.click("#calls label:has-text('1')"))
    tab.wait_for_selector("#student-latency >> text=1 network call each")


def test_a_bridge_restores_an_uploaded_image(tab, tmp_path: Path) -> None:
    Image.radial_gradient("L").save(tmp_path / "mine.png")
    tab.goto(serve(Player(Generator(bridge())), "bridge"))
    tab.set_input_files("#upload input[type=file]", tmp_path / "mine.png")
    tab.wait_for_selector("#student-latency >> text=/1 image in/")
    changes(tab, lambda: tab.click("#again"))


def test_prompts_of_a_student_that_reads_them(tab) -> None:
    player = Player(Generator(prompted(), calls=2), prompted())
    sampled(tab, serve(player, "text", prompts=["a red seven", "a blue two"]))
    assert tab.input_value("#prompts textarea") == "a red seven\na blue two"

    def write() -> None:
        tab.fill("#prompts textarea", "a green three")
        tab.press("#prompts textarea", "Shift+Enter")

    changes(tab, write)
    changes(tab, lambda: tab.click("#calls label:has-text('1')"))
    tab.wait_for_selector("#student-latency >> text=1 network call each")
    tab.fill("#prompts textarea", " ")
    tab.press("#prompts textarea", "Tab")
    tab.wait_for_selector("#student-latency >> text=Write a prompt.")
