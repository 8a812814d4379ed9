"""What `prepare` has written outlives errors, and is what it goes on from, or is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from captioned import folder, png

from realuid.data import load_dataset
from realuid.errors import DataError
from realuid.on_data.prepare import prepare


def at(row: int, act: Callable[[], object]) -> Callable[[str, int, int], None]:
    """A progress that acts when a row is reached."""
    return lambda what, done, total: act() if (what, done) == ("samples", row) else None


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch) -> Path:
    """25 images, of three batches."""
    monkeypatch.setattr("realuid.data.arrow_writer._ROWS", 10)
    return folder(tmp_path / "pictures", {f"{i:02d}.png": png(i) for i in range(25)})


def values(out: Path) -> list[int]:
    return load_dataset(out).values[:][:, 0, 0, 0].tolist()


def test_images_that_are_gone_for_a_while_cost_nothing_that_was_prepared(pictures, tmp_path) -> None:
    out, work, away = tmp_path / "out", tmp_path / "out.unfinished", tmp_path / "away"
    data = load_dataset(pictures, by_row=True)
    for row, kept in ((0, False), (10, True)):
        with pytest.raises(DataError, match=r"\.png") as error:
            prepare(data, out, progress=at(row, lambda: pictures.rename(away)))
        away.rename(pictures)
        assert work.exists() == kept
        assert (f"is kept in '{work}': the same command goes on;" in str(error.value)) == kept
    begun = []
    prepare(data, out, progress=lambda what, done, total: begun.append(done))
    assert begun[0] >= 10 and not work.exists() and values(out) == list(range(25))
