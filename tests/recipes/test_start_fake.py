"""A run that also starts from the fake model of the run before (`--start-fake`)."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from conftest import small_teacher

from realuid.cli.main import main
from realuid.errors import CheckpointError
from realuid.models import save_pretrained
from realuid.training import load_fake
from realuid.training.checkpoints import Checkpoints

TINY = {
    "name": "tiny",
    "distill": {"updates": 2, "batch": 16, "fake_updates": 1, "fake_lr": 3e-3, "ema": [0.5], "device": "cpu"},
}


def fake_of(run: Path) -> dict[str, torch.Tensor]:
    return Checkpoints.read(Checkpoints(run / "checkpoints").latest()[1])[0]["fake"]


@pytest.mark.slow
def test_the_fake_model_goes_on_from_that_of_the_first_run(tmp_path: Path, capsys) -> None:
    """With a learning rate of almost nothing it stays what it was; without the option it is the teacher's."""
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    teacher = small_teacher()
    folder = save_pretrained(teacher, tmp_path / "teacher")
    base = ["distill", str(tmp_path / "tiny.yaml"), "--teacher", str(folder), "--trust-teacher"]
    one, two, four = (str(tmp_path / name) for name in ("one", "two", "four"))
    assert main([*base, "--out", one]) == 0
    again = [*base, "--start", one, "--fake-lr", "1e-12", "--generator-lr", "1e-12"]
    assert main([*again, "--start-fake", "--out", two]) == 0
    first, second = fake_of(tmp_path / "one"), fake_of(tmp_path / "two")
    assert first.keys() == second.keys()
    for name, value in load_fake(one, teacher).state_dict().items():
        assert torch.equal(value, first[name])
        torch.testing.assert_close(second[name], first[name], rtol=0, atol=1e-8)
    assert main([*again, "--start-fake", "--calls", "4", "--out", four]) == 0  # it is told the call on top
    capsys.readouterr()
    assert main([*again, "--out", str(tmp_path / "without")]) == 0
    without, given = fake_of(tmp_path / "without"), teacher.state_dict()
    assert all(torch.allclose(without[name], given[name], rtol=0, atol=1e-8) for name in given)
    assert not all(torch.allclose(without[name], first[name], rtol=0, atol=1e-4) for name in given)
    with pytest.raises(CheckpointError, match="is no network like the teacher's: its student has several calls"):
        load_fake(four, teacher)
    with pytest.raises(CheckpointError, match="is no network like the teacher's"):
        load_fake(one, small_teacher(num_classes=10))
    with pytest.raises(CheckpointError, match="is no folder of a run"):
        load_fake(folder, teacher)
