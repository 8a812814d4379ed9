"""How the code is built: what a package may import, no branches on a family of paths, and the size of functions.

The syntax trees are read; comments and docstrings are free.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path as FilePath

import pytest

from realuid.paths import PATHS, Path
from realuid.recipes import FAMILIES as RECIPES_OF_FAMILIES

SOURCE = FilePath(__file__).parents[1] / "src" / "realuid"
FLOORS = [
    *("paths", "objectives", "models", "sampling", "data", "on_data", "metrics"),
    *("loaders", "training", "reports", "recipes", "exports", "play", "cli"),
]


def imports_of(path: FilePath) -> set[str]:
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
    below = set(FLOORS[FLOORS.index(floor) + 1 :]) | {"api", "keywords"}
    modules = list((SOURCE / floor).rglob("*.py"))
    assert modules
    wrong = {str(m.relative_to(SOURCE)): sorted(imports_of(m) & below) for m in modules if imports_of(m) & below}
    assert wrong == {}


def test_data_knows_no_models() -> None:
    allowed = {"data", "errors", "files", "reading", "seeds"}
    assert {m.name: imports_of(m) - allowed for m in (SOURCE / "data").glob("*.py") if imports_of(m) - allowed} == {}


def kinds_of_paths(kind: type = Path) -> set[str]:
    """Names of the path classes that come with realuid."""
    kinds = [each for each in kind.__subclasses__() if each.__module__.startswith("realuid.")]
    return {each.__name__ for each in kinds}.union(*map(kinds_of_paths, kinds))


CLASSES = kinds_of_paths()
#: What paths, and the families that recipes show, are called.
FAMILIES = {*PATHS, *RECIPES_OF_FAMILIES}
#: Settings with a value that is also the name of a path.
HOMONYMS = {"lr_decay"}


def words_of(name: str) -> set[str]:
    """The words of an identifier: is and bridge of is_bridge or isBridge."""
    return {word.lower() for word in re.findall(r"[A-Z]*[a-z0-9]+|[A-Z]+", name)}


def conditions_in(tree: ast.AST) -> Iterator[ast.AST]:
    """The expressions that code branches on."""
    for node in ast.walk(tree):
        match node:
            case ast.If(test=test) | ast.IfExp(test=test) | ast.While(test=test) | ast.Assert(test=test):
                yield test
            case ast.comprehension(ifs=tests):
                yield from tests
            case ast.Match(subject=subject, cases=cases):
                yield from (subject, *(part for case in cases for part in (case.pattern, case.guard) if part))
            case ast.Compare() | ast.BoolOp():
                yield node
            case ast.Dict(keys=keys):
                yield from (key for key in keys if key)
            case ast.Call(func=ast.Name(id="isinstance" | "issubclass" | "hasattr" | "getattr")):
                yield node


def families_in(condition: ast.AST) -> set[str]:
    """The families that an expression names, as a value or in a name."""
    nodes = list(ast.walk(condition))
    names = {n.id for n in nodes if isinstance(n, ast.Name)} | {n.attr for n in nodes if isinstance(n, ast.Attribute)}
    values = set() if names & HOMONYMS else {n.value for n in nodes if isinstance(n, ast.Constant)}
    return {n for n in names if not FAMILIES.isdisjoint(words_of(n))} | (values & FAMILIES)


def branches_on_families(code: str) -> set[str]:
    """Where code looks at which path it has: path classes that it names, and families that it branches on."""
    tree = ast.parse(code)
    found = set().union(*map(families_in, conditions_in(tree)))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom | ast.Import):
            found |= {alias.name.rpartition(".")[2] for alias in node.names} & CLASSES
        elif isinstance(node, ast.Name | ast.Attribute):
            found |= {node.id if isinstance(node, ast.Name) else node.attr} & CLASSES
    return found


@pytest.mark.parametrize("floor", ["objectives", "training", "sampling", "metrics"])
def test_nothing_branches_on_a_family(floor: str) -> None:
    modules = list((SOURCE / floor).rglob("*.py"))
    assert modules
    assert {m.name: found for m in modules if (found := branches_on_families(m.read_text()))} == {}


@pytest.mark.parametrize(
    "code",
    [
        "if isinstance(path, VPPath): pass",
        "x = 1 if type(path) is paths.LinearPath else 2",
        "from realuid.paths import BrownianBridge",
        "from realuid.paths.bridge import PinnedPath as Other",
        "@step.register(I2SBBridge)\ndef _(path): pass",
        "steps = {InterpolantPath: 1}[type(path)]",
        "match path:\n    case VEPath(): pass",
        "match path.name:\n    case 'vp' | 'cosine': pass",
        "if path.name == 'i2sb': pass",
        "same = path.name != 'flow'",
        "if path.name in ('vp', 've'): pass",
        "x = [f for f in functions if f.name == 'interpolant']",
        "step = {'linear': a, 'trigonometric': b}[path.name]",
        "while path.is_bridge: pass",
        "assert not model.path.flow",
        "x = a if is_vp else b",
        "if not interpolant and ready: pass",
        "x = path.coupled and path.brownian_bridge",
        "x = getattr(path, 'bridge', None)",
        "if isinstance(model.preconditioning, EDM): pass",
    ],
)
def test_a_branch_on_a_family_would_be_found(code: str) -> None:
    assert branches_on_families(code)


@pytest.mark.parametrize(
    "code",
    [
        '"""Flow matching: on bridges, and with VPPath as in EDM."""',
        "if path.coupled: x = 1  # a bridge",
        "raise ConfigError('flow')",
        "if settings.lr_decay == 'cosine': pass",
        "decay: Literal['constant', 'cosine'] = 'cosine'",
        "if overflow and curve in moves: solve()",
        "def noise_diffusion(path): return path.linear(x)",
    ],
)
def test_words_are_no_branches(code: str) -> None:
    assert branches_on_families(code) == set()


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


def length(function: ast.FunctionDef) -> int:
    return function.end_lineno - function.lineno + 1


def test_functions_have_at_most_eight_parameters() -> None:
    assert {name for name, function in functions() if len(parameters(function)) > 8} == set()


def test_functions_have_at_most_sixty_lines() -> None:
    assert {name for name, function in functions() if length(function) > 60} == set()


def names_of_any(code: str) -> set[str]:
    """Any, and what a module calls types made of it."""
    names = {"Any"}
    for node in ast.parse(code).body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                made_of_any = named_in(value) & names
            case ast.AnnAssign(
                target=ast.Name(id=name), annotation=ast.Name(id="TypeAlias"), value=ast.expr() as value
            ):
                made_of_any = named_in(value) & names
            case ast.ImportFrom(module="typing", names=aliases):
                names |= {alias.asname for alias in aliases if alias.name == "Any" and alias.asname}
                continue
            case _:
                continue
        names |= {name} if made_of_any else set()
    return names


def named_in(annotation: ast.AST | None) -> set[str]:
    """Names in an annotation, also in one that is quoted."""
    nodes = list(ast.walk(annotation)) if annotation else []
    quoted = " ".join(n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str))
    return (
        {n.id for n in nodes if isinstance(n, ast.Name)}
        | set(re.findall(r"\w+", quoted))
        | {n.attr for n in nodes if isinstance(n, ast.Attribute)}
    )


def untyped(code: str) -> set[str]:
    """Functions with Any in their signatures, under whatever name."""
    found, names = set(), names_of_any(code)
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.FunctionDef):
            annotations = [*(a.annotation for a in parameters(node)), node.returns]
            if any(named_in(annotation) & names for annotation in annotations):
                found.add(node.name)
    return found


def test_no_signature_of_training_says_any() -> None:
    modules = list((SOURCE / "training").rglob("*.py"))
    assert {m.name: found for m in modules if (found := untyped(m.read_text()))} == {}


@pytest.mark.parametrize(
    "code",
    [
        "def f(x: Any): pass",
        "def f(x) -> dict[str, typing.Any]: pass",
        "def f(*x: 'list[Any]'): pass",
        "Table = dict[str, Any]\nRows = list[Table]\ndef f(*, x: Rows | None = None): pass",
        "Table = Mapping[str, Any]\nclass A:\n    def f(self, **x: Table): pass",
        "Table: TypeAlias = dict[str, Any]\ndef f() -> Table: pass",
        "from typing import Any as Whatever\ndef f(x: Whatever): pass",
    ],
)
def test_any_would_be_found(code: str) -> None:
    assert untyped(code) == {"f"}


def test_any_may_stand_in_bodies() -> None:
    assert untyped("from typing import Any\ndef f(x: int) -> None:\n    y: Any = x") == set()


def test_the_update_of_a_distillation_is_one_function() -> None:
    ((_, update),) = (pair for pair in functions("training") if pair[0] == "training.distill.update")
    assert length(update) <= 60
    nested = (ast.FunctionDef, ast.Lambda)
    assert not any(isinstance(node, nested) for node in ast.walk(update) if node is not update)


def test_files_fit_on_a_few_screens() -> None:
    """Of the library, its tests and benchmarks."""
    files = (
        p
        for folder in (SOURCE, SOURCE.parents[1] / "tests", SOURCE.parents[1] / "benchmarks")
        for p in folder.rglob("*.py")
    )
    found = {p.name for p in files if len(p.read_text().splitlines()) > 300}
    assert found == set()
