"""Pages of the documentation run as they stand: commands and Python in the order of the page, shortened.

A block is left out only below a comment `<!-- not run: reason -->`. Of a block of commands, those of realuid run, `make
demo` as `realuid demo`; lines of other tools must be in `OTHERS`.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from realuid.cli.main import main
from realuid.metrics import features
from realuid.recipes import EvaluateConfig, config

ROOT = Path(__file__).parents[1]
#: Lines of other programs in blocks of commands, which are not run.
OTHERS = (
    "pip install",
    "make test",
    "source .venv",
    "torchrun",
    "hf auth login",
    "python -m benchmarks",
    "python bench",
)
#: What every recipe is shortened to.
SHORT: dict[str, dict[str, Any]] = {
    "teacher": {"updates": 60, "batch": 64, "warmup": 5, "sample_every": 0, "save_every": 40, "lr": 4.0e-3},
    "distill": {"updates": 4, "batch": 16, "fake_updates": 1, "evaluate_every": 4, "sample_every": 0, "save_every": 2},
    "evaluate": {"samples": 100, "seeds": 1, "steps": 5},
}
#: Options whose values are shortened where a page names them.
OPTIONS = {"--count": "5", "--samples": "100", "--updates": "70", "--seeds": "1", "--steps": "2"}


@dataclass(frozen=True)
class Block:
    """A block of code.

    Attributes:
        language: after the fence.
        text: what it holds.
        skipped: why it is not run; '' if it is.
    """

    language: str
    text: str
    skipped: str


def blocks(page: str) -> Iterator[Block]:
    """The blocks of a page; every one of them has a language."""
    fence = re.compile(r"(?:<!-- not run: ([^\n]*?) -->\n)?^( *)```(\w*)[^\n]*\n(.*?)^\2```$", re.MULTILINE | re.DOTALL)
    for reason, indent, language, text in fence.findall(page):
        yield Block(language, re.sub(f"^{indent}", "", text, flags=re.MULTILINE), reason)


def commands(text: str) -> Iterator[list[str]]:
    """The words of each command of realuid in a block; of an unknown program an error."""
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words[:2] == ["make", "demo"]:
            words = ["realuid", "demo"]
        if not words or line.strip().startswith(OTHERS):
            continue
        assert words[0] == "realuid", line
        yield shortened(words[1:])


def shortened(words: list[str]) -> list[str]:
    """A command with small numbers of samples and updates."""
    found = list(words)
    for i, (option, value) in enumerate(pairwise(words), 1):
        if value.isdigit() and int(value) > 1 and (short := OPTIONS.get("--" + re.split(r"[.-]+", option)[-1])):
            found[i] = short
    return found


def run_page(path: Path) -> tuple[dict[str, Any], list[str]]:
    """Run a page in the working folder; returns the names its Python has set, and its commands."""
    names: dict[str, Any] = {}
    ran = []
    for number, block in enumerate(blocks(path.read_text())):
        if block.skipped or block.language == "text":
            continue
        if block.language == "python":
            exec(compile(block.text, f"{path.name}, block {number}", "exec"), names)
        elif block.language == "yaml":
            Path("my-recipe.yaml").write_text(block.text)
        else:
            assert block.language == "sh", f"{path.name}, block {number}: a language is missing, or {block.language}"
            for words in commands(block.text):
                code = main(words)
                assert code == 0, f"{path.name}: realuid {shlex.join(words)}"
                ran.append(words[0])
    return names, ran


def shorten(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    """Let every recipe, evaluation by default and the classifiers of features be short.

    Args:
        monkeypatch: undoes it.
        cache: folder of these classifiers, which other tests must not find.
    """
    monkeypatch.setenv("REALUID_CACHE", str(cache))
    train = features.train_classifier
    monkeypatch.setattr(features, "train_classifier", lambda data, seed=0: train(data, seed, updates=60))
    read = config._read

    def short(name: str) -> str:
        values = yaml.safe_load(read(name))
        for section, changes in SHORT.items():
            values[section] = {**(values.get(section) or {}), **changes}
        return yaml.safe_dump(values)

    monkeypatch.setattr(config, "_read", short)
    usual = EvaluateConfig.__init__.__defaults__
    names = list(EvaluateConfig.__dataclass_fields__)
    changed = tuple(SHORT["evaluate"].get(name, value) for name, value in zip(names, usual, strict=True))
    monkeypatch.setattr(EvaluateConfig.__init__, "__defaults__", changed)
