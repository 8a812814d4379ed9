"""The floors of the house: a package imports only from those above it, and no loop knows a family's name."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from realuid.paths import PATHS
from realuid.recipes import FAMILIES as RECIPES_OF_FAMILIES

SOURCE = Path(__file__).parents[1] / "src" / "realuid"
FLOORS = [
    *("paths", "objectives", "models", "sampling", "data", "on_data", "metrics"),
    *("loaders", "training", "reports", "recipes", "exports", "cli"),
]
FAMILIES = {
    *("flow", "linear", "trigonometric", "diffusion", "cosine", "ddpm", "edm", "vp", "ve"),
    *("bridge", "brownian", "i2sb", "interpolant"),
}

#: Of the paths that come with realuid, before tests bring theirs, and what the command line calls them.
NAMES = [*PATHS, *(kind.__name__ for kind in PATHS.values()), *RECIPES_OF_FAMILIES]
#: Words of paths' names that are no family's.
GENERIC = {"path"}

#: Floor -> words that are no family there: e(t) of an SDE and its choices, the name of an ODE that every path has,
#: a layer and a library, a schedule of learning rates.
NO_FAMILY = {
    "sampling": {"Diffusion", "diffusion", "noise_diffusion", "reverse_diffusion", "probability-flow"},
    "metrics": {"Linear", "TensorFlow"},
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


def test_data_knows_no_models() -> None:
    allowed = {"data", "errors", "files", "seeds"}
    assert {m.name: imports_of(m) - allowed for m in (SOURCE / "data").glob("*.py") if imports_of(m) - allowed} == {}


def names_in(text: str) -> set[str]:
    """All names and words of a file, in code, comments and docstrings alike."""
    return set(re.findall(r"[\w-]+", text))


def words_of(name: str) -> set[str]:
    """The words of a name in snake_case, CamelCase or with hyphens: vp and path of VPPath, is and flow of is_flow."""
    return {word.lower() for word in re.findall(r"I2SB|i2sb|[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)}


def names_a_family(name: str) -> bool:
    """Whether a word of it is a family's, or several of them."""
    return not FAMILIES.isdisjoint({word for w in words_of(name) for word in (w, w.removesuffix("s"))})


def test_the_families_are_all_that_there_are() -> None:
    assert set().union(*map(words_of, NAMES)) - GENERIC <= FAMILIES


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
        '"""As on bridges."""',
        "x = 1  # flow matching",
    ],
)
def test_a_family_s_name_would_be_found(code: str) -> None:
    assert any(names_a_family(name) for name in names_in(code))


def test_other_words_are_no_family() -> None:
    for name in (
        "velocity",
        "overflow",
        "solve",
        "curve",
        "linearly",
        "PATHS",
        "move",
        "solver_of",
        "MoveTo",
        "overflows",
    ):
        assert not names_a_family(name)


def test_files_stay_readable() -> None:
    long = {p.name: n for p in SOURCE.rglob("*.py") if (n := len(p.read_text().splitlines())) > 400}
    assert long == {}


#: Functions of more than eight parameters: public calls, whose keywords are what users set, and some as yet.
MANY_PARAMETERS = {
    "api.distill",
    "api.sample",
    "api.train",
    "models.networks.adm_unet.__init__",  # EDM's own names, as its files have them
    "models.networks.edm_blocks.__init__",
    "models.networks.song_unet.__init__",
    "objectives.factory.make_objective",
    "sampling.sample.generate",
    "training.batches.__init__",
}


def functions(folder: str = ".") -> Iterator[tuple[str, ast.FunctionDef]]:
    """All functions below a folder of the library, with their modules and names."""
    for path in sorted((SOURCE / folder).rglob("*.py")):
        module = ".".join(path.relative_to(SOURCE).with_suffix("").parts)
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                yield f"{module}.{node.name}", node


def parameters(function: ast.FunctionDef) -> list[ast.arg]:
    arguments = function.args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    return [a for a in every if a is not None and a.arg not in ("self", "cls")]


def test_functions_have_at_most_eight_parameters() -> None:
    found = {name for name, function in functions() if len(parameters(function)) > 8}
    assert found <= MANY_PARAMETERS


def test_signatures_of_training_are_typed() -> None:
    for name, function in functions("training"):
        for annotation in (*(a.annotation for a in parameters(function)), function.returns):
            assert annotation is None or "Any" not in ast.unparse(annotation), name


def test_the_update_of_a_distillation_is_one_function() -> None:
    ((_, update),) = (pair for pair in functions("training") if pair[0] == "training.distill.update")
    assert update.end_lineno - update.lineno < 60
    nested = (ast.FunctionDef, ast.Lambda)
    assert not any(isinstance(node, nested) for node in ast.walk(update) if node is not update)


def test_files_fit_on_a_few_screens() -> None:
    found = {p.name for p in SOURCE.rglob("*.py") if len(p.read_text().splitlines()) > 300}
    assert found <= {"check.py", "pickles.py"}  # of loaders, as yet
