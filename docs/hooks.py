"""Pages of the site that are made when it is built: start, changelog, command line, API and linked sources.

The files in docs/ are read on GitHub as well, so README.md and links to sources stay as they are there.
"""

from __future__ import annotations

import ast
import contextlib
import io
import os
import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "realuid"
#: Packages whose public names have an entry, and what they hold.
PACKAGES = {
    "": "Functions and classes of `realuid` itself",
    "data": "Data sets",
    "paths": "Matching models: paths and predictions",
    "objectives": "Objectives of distillation",
    "models": "Models, networks and conditions",
    "sampling": "Samplers",
    "metrics": "Metrics",
    "loaders": "Loading models of other libraries",
    "training": "Settings and training",
    "recipes": "Recipes and evaluation",
    "exports": "Exports",
    "play": "The playground",
    "on_data": "Models applied to data",
    "reports": "Reports",
}
_LINK = re.compile(r"\]\(((?:\.\./)+|)((?:src|tests|benchmarks|examples|LICENSE)[\w/.-]*)(#[\w-]*)?\)")


def public_names(package: str) -> list[str]:
    """Names in `__all__` of a package of realuid ('' for realuid itself)."""
    for node in ast.parse((SOURCE / package / "__init__.py").read_text()).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            return [str(name) for name in ast.literal_eval(node.value) if not str(name).startswith("__")]
    return []


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made."""
    pages = {"index.md": _from_top("README.md"), "changelog.md": _from_top("CHANGELOG.md"), "cli.md": _command_line()}
    for package, title in PACKAGES.items():
        pages[f"api/{package or 'realuid'}.md"] = _api(package, title)
    texts = [*pages.values(), *(file.content_string for file in files.documentation_pages())]
    for path in sorted({match[2].rstrip("/") for text in texts for match in _LINK.finditer(text)}):
        pages[f"source/{path}.md"] = _source(path)
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: object, config: MkDocsConfig, files: Files) -> str:
    """Let links to files beside docs/ lead to their pages."""
    here = Path(page.file.src_uri).parent  # type: ignore[attr-defined]

    def moved(match: re.Match[str]) -> str:
        target = f"source/{match[2].rstrip('/')}.md"
        return f"]({os.path.relpath(target, here)})" if files.get_file_from_path(target) else match[0]

    return _LINK.sub(moved, markdown)


def _from_top(name: str) -> str:
    """A page that lies beside docs/, with links from within docs/."""
    text = (ROOT / name).read_text().replace("](docs/guides)", "](docs/guides/training.md)")
    return text.replace("](docs/", "](")


def _source(path: str) -> str:
    """A source file, or the files of a folder, as a page."""
    place = ROOT / path
    if place.is_dir():
        names = sorted(each.name for each in place.glob("*.py"))
        return f"# {path}\n\n" + "\n".join(f"- `{name}`" for name in names) + "\n"
    fence = "`" * 4
    language = {".py": "python", ".yaml": "yaml", ".md": "markdown"}.get(place.suffix, "text")
    return f"# {path}\n\n{fence}{language}\n{place.read_text()}{fence}\n"


def _api(package: str, title: str) -> str:
    """An entry for each public name of a package."""
    module = f"realuid.{package}" if package else "realuid"
    shown = example_of(module).replace("](guides/", "](../guides/")
    entries = "\n".join(f"::: {module}.{name}\n" for name in public_names(package))
    return f"# {title}\n\n{shown}\n\n{entries}"


def example_of(module: str) -> str:
    """The section of docs/api-examples.md that uses every public name of a module."""
    text = (ROOT / "docs" / "api-examples.md").read_text()
    return text.split(f"\n## {module}\n", 1)[1].split("\n## ", 1)[0].strip()


def _command_line() -> str:
    """The help of every command."""
    from realuid.cli.main import COMMANDS, overview

    parts = ["# Command line", "", "```text", overview(), "```", ""]
    for command, text in COMMANDS.items():
        parts += [f"## realuid {command}", "", text[0].upper() + text[1:] + ".", "", "```text"]
        parts += [*_help_of(command), "```", ""]
    return "\n".join(parts)


def _help_of(command: str) -> Iterator[str]:
    from realuid.cli.main import main

    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), contextlib.suppress(SystemExit):
        main([command, "--help"])
    for line in shown.getvalue().rstrip().splitlines():
        yield re.sub(r"\x1b\[[0-9;]*m", "", line)
