"""The floors of the house: a package imports only from those above it, and no loop knows a family's name."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "realuid"
FLOORS = [
    *("paths", "objectives", "models", "sampling", "data", "metrics"),
    *("teachers", "training", "reports", "recipes", "exports", "cli"),
]
FAMILIES = {
    *("flow", "linear", "trigonometric", "diffusion", "cosine", "ddpm", "edm", "vp", "ve"),
    *("bridge", "brownian", "i2sb", "interpolant"),
}

#: Floor -> words that are no family there: e(t) of an SDE and its choices, torch's layer, a schedule of learning rates.
NO_FAMILY = {
    "sampling": {"Diffusion", "diffusion", "noise_diffusion", "reverse_diffusion"},
    "metrics": {"Linear"},
    "training": {"cosine"},
}


def imports_of(path: Path) -> set[str]:
    """Names of the realuid packages that a module imports, at any depth."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        modules = []
        if isinstance(node, ast.ImportFrom) and node.module:
            modules = [node.module]
        elif isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        names |= {m.split(".")[1] for m in modules if m.startswith("realuid.")}
    return names


@pytest.mark.parametrize("floor", FLOORS)
def test_a_floor_imports_only_from_those_above(floor: str) -> None:
    below = set(FLOORS[FLOORS.index(floor) + 1 :]) | {"api"}
    modules = list((SOURCE / floor).rglob("*.py"))
    assert modules
    wrong = {str(m.relative_to(SOURCE)): sorted(imports_of(m) & below) for m in modules if imports_of(m) & below}
    assert wrong == {}


def names_in(code: str) -> set[str]:
    """Names of the code: read, defined, imported or passed, and strings of one word; prose in docstrings is none."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(code)):
        for part in ("id", "attr", "name", "asname", "arg", "module"):  # whatever carries a name in a syntax tree
            names |= {value} if isinstance(value := getattr(node, part, None), str) else set()
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " not in node.value:
            names.add(node.value)
    return names


def names_a_family(name: str) -> bool:
    """Whether a word of it, in snake_case, CamelCase or dotted, is a family's: VPPath, is_flow, realuid.paths.ve."""
    words = re.findall(r"I2SB|i2sb|[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)
    return not FAMILIES.isdisjoint(word.lower() for word in words)


@pytest.mark.parametrize("floor", ["objectives", "training", "sampling", "metrics"])
def test_no_family_is_named_in_a_loop(floor: str) -> None:
    found = {
        f"{path.name}: {name}"
        for path in (SOURCE / floor).rglob("*.py")
        for name in names_in(path.read_text()) - NO_FAMILY.get(floor, set())
        if names_a_family(name)
    }
    assert found == set()


@pytest.mark.parametrize(
    "code",
    [
        "if isinstance(path, VPPath): pass",
        "from realuid.paths import BrownianBridge",
        "from realuid.paths.bridge import x",
        "import realuid.paths.ve as other",
        "from realuid.paths import x as LinearPath",
        "def step_of_flow(): pass",
        "def step(is_bridge=False): pass",
        "class CosineLoss: pass",
        "step(interpolant=True)",
        "if path.name == 'i2sb': pass",
        "x = I2SBBridge",
        "y = path.trigonometric",
        "z = EDM()",
        "make('ddpm')",
    ],
)
def test_a_family_s_name_would_be_found(code: str) -> None:
    assert any(names_a_family(name) for name in names_in(code))


def test_other_words_are_no_family() -> None:
    for name in ("velocity", "overflow", "solve", "curve", "linearly", "PATHS", "move", "solver_of", "MoveTo"):
        assert not names_a_family(name)
    assert names_in('"""A bridge of flows."""') == set()


def test_files_stay_readable() -> None:
    long = {p.name: n for p in SOURCE.rglob("*.py") if (n := len(p.read_text().splitlines())) > 400}
    assert long == {}
