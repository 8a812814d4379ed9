"""README.md and the guides run as they stand: README in an empty folder, each guide on what README's commands make."""

from __future__ import annotations

import shutil
from pathlib import Path

import pages
import pytest
import torch
import user_files
from filelock import FileLock

pytestmark = pytest.mark.slow
#: Guides without the ones that run as a test of their own (new-path).
GUIDES = sorted(path.stem for path in (pages.ROOT / "docs" / "guides").glob("*.md") if path.stem != "new-path")


@pytest.fixture
def after_readme(tmp_path_factory, shared: Path, digits) -> Path:
    """The folder in which README was followed, by one process for all of a test run."""
    pytest.importorskip("onnxruntime", reason="needs realuid[onnx]")
    top = tmp_path_factory.getbasetemp()
    folder = (top.parent if "popen" in top.name else top) / "readme"
    with FileLock(f"{folder}.lock"):
        if folder.exists() and not (folder / "done").exists():
            pytest.fail("README.md did not run")
        if not folder.exists():
            folder.mkdir()
            user_files.write_files(folder, digits, shared)
            with pytest.MonkeyPatch.context() as patch:
                patch.chdir(folder)
                patch.syspath_prepend(str(folder))
                pages.shorten(patch, folder / "cache")
                check_readme(*pages.run_page(pages.ROOT / "README.md"))
            (folder / "done").touch()
    return folder


def check_readme(names: dict, ran: list[str]) -> None:
    assert set(ran) == {
        *("demo", "train", "distill", "sample", "evaluate", "info", "compare"),
        *("check-teacher", "convert", "export", "restore"),
    }
    written = ("student.png", "teacher.png", "grid.png", "my-one-step-model/model_index.json", "runs/demo/report.html")
    for name in written:
        assert Path(name).is_file(), name
    assert len(list(Path("restored").iterdir())) == 40
    assert names["threes"].shape == (16, 1, 8, 8)
    assert names["images"].shape == (16, 1, 8, 8)  # of the last block, torch alone


def test_readme(after_readme: Path) -> None:
    assert (after_readme / "done").exists()


@pytest.mark.parametrize("guide", [*GUIDES, "api-examples"])
def test_guide(guide: str, after_readme: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = tmp_path / "here"
    shutil.copytree(after_readme, here)
    monkeypatch.chdir(here)
    monkeypatch.syspath_prepend(str(here))
    pages.shorten(monkeypatch, here / "cache")
    docs = pages.ROOT / "docs"
    names, _ = pages.run_page(docs / "guides" / f"{guide}.md" if guide in GUIDES else docs / f"{guide}.md")
    if guide == "teachers":
        assert names["images"].shape == (16, 1, 8, 8) and names["check"].best.reading.prediction == "velocity"
        there, back = (torch.load(name, weights_only=True) for name in ("torchcfm.pt", "back.pt"))
        raw, again = there["net_model"], back["net_model"]
        assert raw.keys() == again.keys() and all(torch.equal(raw[name], again[name]) for name in raw)
