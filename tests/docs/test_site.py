"""The site builds without a warning, with an entry for every public name; every block of code runs or says why not."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pages
import pytest

import realuid

DOCS = pages.ROOT / "docs"
#: Pages that other tests run from top to bottom.
RUN = {pages.ROOT / "README.md", *(DOCS / "guides").glob("*.md"), DOCS / "api-examples.md"}
ALL = sorted([*pages.ROOT.glob("*.md"), *DOCS.rglob("*.md")])
SHOWN = {"text", "yaml", "toml", "json"}


@pytest.mark.parametrize("page", ALL, ids=lambda page: str(page.relative_to(pages.ROOT)))
def test_every_block_of_code_runs_or_says_why_not(page: Path) -> None:
    text = page.read_text()
    found = list(pages.blocks(text))
    assert len(found) == sum(line.lstrip().startswith("```") for line in text.splitlines()) / 2
    for block in found:
        assert block.language, f"a block without a language: {block.text[:60]}"
        if page not in RUN and block.language not in SHOWN:
            assert block.skipped, f"neither run nor marked: {block.text[:60]}"


PACKAGES = ["", *sorted(p.parent.name for p in Path(realuid.__file__).parent.glob("*/__init__.py"))]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_has_an_example_that_runs(package: str) -> None:
    """In the module's section of docs/api-examples.md, which another test runs from top to bottom."""
    module = importlib.import_module(f"realuid.{package}" if package else "realuid")
    names = {name for name in getattr(module, "__all__", ()) if not name.startswith("__")}
    if names and package != "cli":
        section = (DOCS / "api-examples.md").read_text().split(f"\n## {module.__name__}\n", 1)[1].split("\n## ", 1)[0]
        nodes = [node for block in pages.blocks(section) for node in ast.walk(ast.parse(block.text))]
        used = {node.id for node in nodes if isinstance(node, ast.Name)}
        imports = [node for node in nodes if isinstance(node, ast.ImportFrom) and node.module == module.__name__]
        imported = {alias.name for node in imports for alias in node.names}
        attributes = {
            node.attr
            for node in nodes
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == module.__name__
        }
        assert names - (imported & used) - attributes == set()


@pytest.mark.slow
def test_the_site_builds_with_an_entry_for_every_public_name(tmp_path: Path) -> None:
    if not all(map(importlib.util.find_spec, ("mkdocs", "material", "mkdocstrings"))):
        pytest.skip("needs realuid[docs]")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    env = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=pages.ROOT, env=env, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr[-2000:]
    assert "WARNING" not in built.stderr
    packages = ["", *(p.name for p in Path(realuid.__file__).parent.iterdir() if (p / "__init__.py").is_file())]
    count = 0
    for package in packages:
        module = importlib.import_module(f"realuid.{package}" if package else "realuid")
        names = [name for name in getattr(module, "__all__", ()) if not name.startswith("__")]
        if names and package != "cli":
            text = (tmp_path / "site" / "api" / (package or "realuid") / "index.html").read_text()
            missing = [name for name in names if f'id="{module.__name__}.{name}"' not in text]
            assert missing == []
            count += len(names)
    assert count > 200
    shown = (tmp_path / "site" / "cli" / "index.html").read_text()
    assert all(f"realuid {command}" in shown for command in ("train", "distill", "doctor"))
