from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from conftest import small_teacher

from realuid.errors import CheckpointError, ConfigError
from realuid.models import MLP, Condition, Generator, MatchingModel, from_pretrained, save_pretrained
from realuid.paths import make_path


@pytest.mark.parametrize("num_classes", [0, 3])
def test_teacher_and_generator_come_back_the_same(tmp_path: Path, num_classes: int) -> None:
    teacher = small_teacher((3, 8, 8), num_classes).eval()
    z, t = torch.randn(4, 3, 8, 8), torch.tensor([0.1, 0.4, 0.7, 1.0])
    condition = Condition(labels=torch.tensor([0, 2, 1, 0]) if num_classes else None)
    for model, call in ((teacher, lambda m: m(z, t, condition)), (Generator(teacher, 0.6), lambda m: m(z, condition))):
        folder = save_pretrained(model, tmp_path / type(model).__name__, note={"why": "test"})
        loaded = from_pretrained(folder)
        assert type(loaded) is type(model)
        assert torch.equal(call(loaded), call(model))
        assert json.loads((folder / "config.json").read_text())["note"] == {"why": "test"}


def test_mlp_comes_back_the_same(tmp_path: Path) -> None:
    model = MatchingModel(
        MLP(2, width=16, depth=2, num_classes=4), make_path("trigonometric"), "data_prediction"
    ).eval()
    x, t, c = torch.randn(5, 2), torch.rand(5), Condition(labels=torch.arange(5) % 4)
    loaded = from_pretrained(save_pretrained(model, tmp_path / "m"))
    assert torch.equal(loaded(x, t, c), model(x, t, c))
    assert (loaded.path, loaded.prediction) == (model.path, "data_prediction")


def test_saving_replaces_a_folder_as_a_whole(tmp_path: Path, teacher) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "old.txt").write_text("old")
    save_pretrained(teacher, tmp_path / "m")
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["config.json", "m", "model.safetensors"]


def test_a_failed_save_leaves_the_old_model(tmp_path: Path, teacher) -> None:
    save_pretrained(teacher, tmp_path / "m")
    before = {p.name: p.read_bytes() for p in (tmp_path / "m").iterdir()}
    with pytest.raises(TypeError):
        save_pretrained(teacher, tmp_path / "m", broken=object())
    assert {p.name: p.read_bytes() for p in (tmp_path / "m").iterdir()} == before
    assert [p.name for p in tmp_path.iterdir()] == ["m"]


def test_errors_say_what_is_wrong(tmp_path: Path, teacher) -> None:
    with pytest.raises(CheckpointError, match=r"config.json is missing"):
        from_pretrained(tmp_path)
    folder = save_pretrained(teacher, tmp_path / "m")
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[:-100])
    with pytest.raises(CheckpointError, match=r"model.safetensors' cannot be read"):
        from_pretrained(folder)
    other = save_pretrained(small_teacher((3, 8, 8)), tmp_path / "other")
    (folder / "model.safetensors").write_bytes((other / "model.safetensors").read_bytes())
    with pytest.raises(
        CheckpointError, match=r"of another model \(.*unet.conv_in.weight is \(8, 3, 3, 3\), needed \(8, 1, 3, 3\)"
    ):
        from_pretrained(folder)
    (folder / "config.json").write_text('{"format": "something"}')
    with pytest.raises(CheckpointError, match="was not written by realuid"):
        from_pretrained(folder)


def test_a_network_of_ones_own_is_refused_with_a_way_out(tmp_path: Path) -> None:
    class Mine(MLP):
        pass

    with pytest.raises(ConfigError, match="a Mine cannot be saved: only networks of the table"):
        save_pretrained(MatchingModel(Mine(2), make_path("linear")), tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_labels_are_asked_for() -> None:
    model = small_teacher(num_classes=10)
    with pytest.raises(ConfigError, match="conditional on 10 classes, but no labels"):
        model(torch.randn(2, 1, 8, 8), torch.rand(2))
