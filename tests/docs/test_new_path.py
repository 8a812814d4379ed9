"""The guide to new paths does what it says, and the path it adds passes closed-form checks."""

from __future__ import annotations

import re
import sys
import tomllib
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from exact import exact_teacher, marginal
from oracles import FAMILIES, Family, world

from realuid.cli.main import main
from realuid.models import from_pretrained
from realuid.paths import PATHS
from realuid.sampling import as_batch, heun

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "new-path.md"


@pytest.fixture
def guide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict:
    """The names that the guide's code defines, after all of it has run; the path is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert len(blocks) == 3
    names: dict = {"__name__": "guide"}
    try:
        monkeypatch.setitem(sys.modules, "guide", types.ModuleType("guide"))  # where dataclasses look up annotations
        for block in blocks:
            exec(compile(block, str(GUIDE), "exec"), names)
        yield names
    finally:
        PATHS.pop("quadratic", None)
        sys.modules.pop("quadratic", None)


def test_the_guide_runs_and_its_path_is_right(guide: dict, monkeypatch) -> None:
    assert guide["points"].shape == (8, 2) and guide["points"].isfinite().all()
    assert guide["student"].model.path == guide["QuadraticPath"]()
    assert (Path("runs/student") / "model" / "config.json").is_file()

    monkeypatch.setitem(FAMILIES, "quadratic", Family("quadratic", lambda t: (1 - t * t, t, 0.0)))
    teacher = exact_teacher("quadratic", world(False), "velocity")
    (m0, s0), (m1, s1) = (marginal("quadratic", world(False), t) for t in (0.9, 0.2))
    x = torch.tensor([[-1.0], [0.5]], dtype=torch.float64) * s0 + m0

    def error(steps: int) -> float:
        times = torch.linspace(0.9, 0.2, steps + 1, dtype=torch.float64)
        got = heun(lambda x, t: teacher.estimate(x, as_batch(t, x)), x, times, torch.randn_like)
        return float((got - ((x - m0) / s0 * s1 + m1)).abs().max())

    assert np.log2(error(64) / error(128)) == pytest.approx(2, abs=0.15)


def installed(folder: Path, points: dict[str, str]) -> None:
    """As pip leaves a package with such entry points."""
    info = folder / "quadratic-1.0.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: quadratic\nVersion: 1.0\n")
    lines = [f"{name} = {value}" for name, value in points.items()]
    (info / "entry_points.txt").write_text("\n".join(["[realuid.paths]", *lines]) + "\n")


def test_an_installed_path_is_found_by_its_name(tmp_path: Path, monkeypatch, capsys) -> None:
    """By a command, and by whoever reads the model that it saved; without the package both say what is missing."""
    code = re.search(r"```python\n(.*?)PATHS\[", GUIDE.read_text(), re.DOTALL)
    toml = re.search(r"```toml\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    points = tomllib.loads(toml[1])["project"]["entry-points"]["realuid.paths"]
    (tmp_path / "quadratic.py").write_text(code[1])
    words = ["--path.name", "quadratic", "--network.channels", "8", "8", "--updates", "1", "--batch", "8"]
    words = ["train", "demo", *words, "--sample-every", "0", "--device", "cpu", "--out", str(tmp_path / "run")]
    assert main(words) == 2
    assert "unknown path 'quadratic'" in (said := capsys.readouterr().err) and "entry point 'realuid.paths'" in said
    monkeypatch.syspath_prepend(tmp_path)
    installed(tmp_path, points)
    try:
        assert main(words) == 0
        PATHS.pop("quadratic")  # another process knows nothing of it
        path = from_pretrained(tmp_path / "run" / "model").path
        assert (type(path).__module__, type(path).__name__) == ("quadratic", "QuadraticPath")
        PATHS.pop("quadratic")
        installed(tmp_path, {})
        assert main(["sample", str(tmp_path / "run")]) == 2
        assert "unknown path 'quadratic'" in capsys.readouterr().err
    finally:
        PATHS.pop("quadratic", None)
        sys.modules.pop("quadratic", None)


@pytest.mark.parametrize(
    ("points", "says"),
    [
        ({"mine": "nowhere_at_all:Mine"}, "path 'mine' (nowhere_at_all:Mine) cannot be imported (ModuleNotFoundError"),
        ({"mine": "realuid.paths:make_path"}, "needed is a subclass of realuid.paths.Path whose name is 'mine'"),
        ({"mine": "realuid.paths:LinearPath"}, "needed is a subclass of realuid.paths.Path whose name is 'mine'"),
    ],
)
def test_a_package_that_declares_nonsense_is_named(tmp_path: Path, monkeypatch, capsys, points, says) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    installed(tmp_path, points)
    assert main(["train", "demo", "--path.name", "mine", "--out", str(tmp_path / "run")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("realuid: error: ") and says in line
    assert "mine" not in PATHS
