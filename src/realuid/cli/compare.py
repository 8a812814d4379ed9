"""realuid compare RUN RUN ...: put runs side by side on one page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from realuid.cli.options import console, parse
from realuid.errors import ConfigError


@dataclass(frozen=True)
class Options:
    """Put runs side by side: figures, settings that differ, newest samples from the same noise, curves, health."""

    #: Folders of runs, finished or not; of a demo or a sweep, all of its runs.
    runs: tyro.conf.Positional[tuple[Path, ...]]
    #: The page.
    out: Path = Path("compare.html")


def run(arguments: Sequence[str]) -> None:
    """Run the command."""
    options = parse(Options, "compare", arguments)

    from realuid.recipes.pages import compare_runs, runs_in

    if options.out.suffix not in (".html", ".htm"):
        raise ConfigError(f"out = {options.out}: a page is a file called .html.")
    folders = [run for folder in options.runs for run in runs_in(folder)]
    if not folders:
        raise ConfigError("no run to compare: pass folders that `realuid train` or `realuid distill` wrote.")
    console.print(f"page: {compare_runs(folders, options.out)}")
