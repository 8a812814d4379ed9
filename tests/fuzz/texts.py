"""Damaged recipes, and damaged records of runs."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from fuzz.harness import Case, mutate
from fuzz.values import changed
from realuid.recipes import dump_recipe, load_recipe
from realuid.recipes.run import recipe_of_run, teacher_of_run, teacher_record
from realuid.training.folder import has_checkpoint, is_finished, is_run, mend

_RECIPES = ("demo", "digits-bridge", "cifar10")
#: YAML that is more than plain values.
_YAML = (
    "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n",
    "!!python/object/apply:os.system ['touch it-ran']\n",
    "<<: [{name: x}]\n",
    "base: &x {base: *x}\n",
    "- a\n- b\n",
    "? [a]\n: b\n",
    "name: 2001-01-01\n",
    "%TAG ! x\n",
    "---\na: 1\n---\nb: 2\n",
    "base: /dev/zero\n",
    "base: demo\nbase: vp\n",
    "\t",
    "{" * 300,
    "[" * 5000,
)


#: Whole texts and what they stand for: parsing takes longer than all the rest.
_parsed = cache(yaml.safe_load)
_Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def _odd(text: str, chance: random.Random) -> bytes:
    value: Any = changed(_parsed(text), chance)
    match chance.randrange(4):
        case 0:
            return mutate(text.encode(), chance)
        case 1:
            return (text + chance.choice(_YAML) if chance.random() < 0.5 else chance.choice(_YAML) + text).encode()
        case 2:
            return json.dumps(value).encode("utf-8", "surrogatepass")
        case _:
            return _dumped(value).encode(chance.choice(("utf-8", "utf-8", "utf-16", "latin-1")), "replace")


def _dumped(value: Any) -> str:
    try:
        return yaml.dump(value, Dumper=_Dumper)
    except UnicodeEncodeError:  # of libyaml: half of a character
        return yaml.dump(value, Dumper=yaml.SafeDumper)


def recipes(folder: Path, chance: random.Random) -> Iterator[Case]:
    """Recipes with odd values in every place, damaged bytes, other encodings, and YAML that expands."""
    whole = [dump_recipe(load_recipe(name)) for name in _RECIPES]
    path = folder / "damaged.yaml"
    while True:
        path.write_bytes(_odd(chance.choice(whole), chance))
        yield Case(lambda: load_recipe(str(path)), path.stat().st_size)


def runs(folder: Path, chance: random.Random) -> Iterator[Case]:
    """What a run notes about itself, damaged, as `--resume` reads it."""
    run = folder / "run"
    (run / "checkpoints" / "0000002").mkdir(parents=True)
    metrics = [{"update": i, "loss": 0.5, "quick_fd": [1.0]} for i in range(1, 4)]
    whole = {
        "recipe.yaml": dump_recipe(load_recipe("demo")),
        "teacher.txt": teacher_record("somewhere"),
        "metrics.jsonl": "".join(json.dumps(line) + "\n" for line in metrics),
        "seconds.json": '{"seconds": 3.5}\n',
        "result.json": '{"fd": 1.0, "update": 3}\n',
        "checkpoints/0000002/meta.json": '{"update": 2, "version": 1}\n',
    }
    for name, text in whole.items():
        (run / name).write_text(text)
    name = "recipe.yaml"
    while True:
        (run / name).write_text(whole[name])
        name = chance.choice(list(whole))
        text = whole[name]
        content = _odd(text, chance) if name.endswith((".yaml", ".json")) else mutate(text.encode(), chance)
        (run / name).write_bytes(content)
        yield Case(lambda: _read_run(run), sum(map(len, whole.values())))


def _read_run(run: Path) -> None:
    is_run(run), has_checkpoint(run), is_finished(run)
    mend(run)
    teacher_of_run(run)
    recipe_of_run(run)
