"""A headless Chromium, whose path is in $CHROMIUM where it is not called chromium; driven by playwright."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator

import pytest

WAIT = 90_000


@pytest.fixture(scope="module")
def chromium() -> Iterator:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if path is None:
        pytest.skip("there is no chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def tab(chromium) -> Iterator:
    """A page that fails the test for any error on its console; addresses of other machines are not asked for."""
    page, errors = chromium.new_page(viewport={"width": 1280, "height": 900}), []
    page.route(re.compile(r"https?://(?!127\.0\.0\.1)"), lambda route: route.abort())
    page.set_default_timeout(WAIT)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    yield page
    page.close()
    assert [e for e in errors if "ERR_FAILED" not in e] == []
