"""Links and commands of the documentation lead to files that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "tests").rglob("*.md")])
RESULTS = (ROOT / "docs" / "results.md").read_text()


def anchors(page: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page: Path, text: str) -> list[str]:
    """Relative links of a page whose file does not exist, or whose anchor no heading has."""
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and anchor not in anchors(target.read_text())):
            broken.append(link)
    return broken


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_somewhere(page: Path) -> None:
    assert broken_links(page, page.read_text()) == []


def test_a_broken_link_would_be_found() -> None:
    text = "[a](docs/nowhere.md) [b](docs/results.md#nowhere) [c](docs/results.md#correctness) [d](https://example.org)"
    assert broken_links(ROOT / "README.md", text) == ["docs/nowhere.md", "docs/results.md#nowhere"]


def test_files_in_commands_exist() -> None:
    named = {
        name
        for page in PAGES
        if page.name != "CHANGELOG.md"
        for name in re.findall(r"\b((?:tests|benchmarks|examples)/[\w/]+\.(?:py|yaml))", page.read_text())
    } | {
        module.replace(".", "/")
        for page in PAGES
        for module in re.findall(r"python -m (benchmarks\.[\w.]+\w)", page.read_text())
    }
    missing = {name for name in named if not any((ROOT / f"{name}{end}").exists() for end in ("", ".py"))}
    assert len(named) > 20
    assert missing == set()


def test_the_results_fit_on_one_page() -> None:
    assert len(RESULTS.splitlines()) < 100
    assert len(re.findall(r"\]\(experiments/\w+\.md\)", RESULTS)) > 20


def test_experiments_have_a_question_a_setting_and_an_answer() -> None:
    for name in set(re.findall(r"\]\(experiments/(\w+\.md)\)", RESULTS)) - {"README.md"}:
        page = (ROOT / "docs" / "experiments" / name).read_text()
        assert page.startswith("# ") and page.splitlines()[0].endswith("?"), name
        assert {"## Setting", "## Answer"} <= set(page.splitlines()), name
