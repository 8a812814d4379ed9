"""The floors of the house: a package imports only from those above it, and no loop knows a family's name."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "realuid"
FLOORS = [
    *("paths", "objectives", "models", "sampling", "data", "metrics"),
    *("teachers", "training", "reports", "recipes", "exports", "cli"),
]
FAMILIES = ("flow", "diffusion", "bridge", "interpolant", "ddpm", "edm", "vp", "ve")

#: e(t) of an SDE and its choices: a coefficient that every family has, called diffusion.
COEFFICIENTS = {"Diffusion", "diffusion", "noise_diffusion", "reverse_diffusion"}


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


@pytest.mark.parametrize("floor", ["objectives", "training", "sampling", "metrics"])
def test_no_family_is_named_in_a_loop(floor: str) -> None:
    """Identifiers and strings of the code; prose in docstrings may name what it explains."""
    found = []
    for path in (SOURCE / floor).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else None
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " not in node.value:
                name = node.value
            if name in COEFFICIENTS:
                continue
            if name and any(part in FAMILIES for part in name.lower().split("_")):
                found.append(f"{path.name}: {name}")
    assert found == []


def test_files_stay_readable() -> None:
    long = {p.name: n for p in SOURCE.rglob("*.py") if (n := len(p.read_text().splitlines())) > 400}
    assert long == {}
