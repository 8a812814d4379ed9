from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from conftest import small_teacher
from safetensors.torch import save_file

from realuid.errors import CheckpointError, ConfigError
from realuid.loaders import load_model
from realuid.models import (
    MLP,
    Condition,
    Generator,
    MatchingModel,
    from_pretrained,
    load_single_file,
    save_pretrained,
    save_single_file,
)
from realuid.paths import make_path


@pytest.mark.parametrize("num_classes", [0, 3])
def test_teacher_and_generator_come_back_the_same(tmp_path: Path, num_classes: int) -> None:
    teacher = small_teacher((3, 8, 8), num_classes).eval()
    z, t = torch.randn(4, 3, 8, 8), torch.tensor([0.1, 0.4, 0.7, 1.0])
    condition = Condition(label=torch.tensor([0, 2, 1, 0]) if num_classes else None)
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
    x, t, c = torch.randn(5, 2), torch.rand(5), Condition(label=torch.arange(5) % 4)
    loaded = from_pretrained(save_pretrained(model, tmp_path / "m"))
    assert torch.equal(loaded(x, t, c), model(x, t, c))
    assert (loaded.path, loaded.prediction) == (model.path, "data_prediction")


def test_saving_replaces_a_model_as_a_whole(tmp_path: Path, teacher) -> None:
    teacher.network.unused = {"old": torch.zeros(1)}
    save_pretrained(teacher, tmp_path / "m")
    assert (tmp_path / "m" / "unused.safetensors").exists()
    teacher.network.unused = {}
    save_pretrained(teacher, tmp_path / "m")
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["checksums.json", "config.json", "m", "model.safetensors"]


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


def test_a_single_bit_that_flipped_is_noticed(tmp_path: Path, teacher) -> None:
    folder = save_pretrained(teacher, tmp_path / "m")
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (folder / "model.safetensors").write_bytes(weights)
    with pytest.raises(CheckpointError, match=r"model.safetensors does not match its checksum\. Copy it again"):
        from_pretrained(folder)
    (folder / "checksums.json").unlink()  # on purpose, or a folder of an older version
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


def test_source_images_need_channels_of_their_own(tmp_path: Path, teacher) -> None:
    folder = save_pretrained(teacher, tmp_path / "m")
    config = json.loads((folder / "config.json").read_text())
    config["network"]["settings"]["sees_source"] = True
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"in_channels = 1 .* 2 are needed"):
        from_pretrained(folder)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("network", "settings", "layers_per_block"), 10**9, "far larger than the .* tensors beside them"),
        (("network", "settings", "block_out_channels"), [2**20, 2**20], "of another shape"),
        (("network", "architecture"), "vit", "unknown network architecture 'vit'"),
        (("network",), [1], "does not describe a model"),
        (("path", "name"), "straight", "unknown path 'straight'"),
        (("prediction",), "image", "unknown prediction 'image'"),
        (("preconditioning", "name"), "none", "unknown preconditioning 'none'"),
        (("kind",), "gan", "unknown kind of model 'gan'"),
    ],
)
def test_damaged_settings_are_named_and_cost_nothing(tmp_path: Path, teacher, path, value, message) -> None:
    folder = save_pretrained(teacher, tmp_path / "m")
    config = part = json.loads((folder / "config.json").read_text())
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=message):
        from_pretrained(folder)


def test_weights_of_another_kind_of_number_are_refused(tmp_path: Path, teacher) -> None:
    folder = save_pretrained(teacher, tmp_path / "m")
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights.replace(b'"F32"', b'"I32"', 1))
    with pytest.raises(CheckpointError, match=r"is torch.int32, not torch.float32"):
        from_pretrained(folder)


def test_one_file_holds_the_whole_model(tmp_path: Path, teacher) -> None:
    teacher = teacher.eval()
    z, t = torch.randn(4, 1, 8, 8), torch.tensor([0.1, 0.4, 0.7, 1.0])
    for model, call in ((teacher, lambda m: m(z, t)), (Generator(teacher, 0.6), lambda m: m(z))):
        path = save_single_file(model, tmp_path / "m.safetensors", path="ours wins", note={"why": "test"})
        loaded = load_single_file(path)
        assert type(loaded) is type(model)
        assert torch.equal(call(loaded), call(model))
        assert load_model(path).path == teacher.path if model is teacher else load_model(path).t_init == 0.6


def test_one_file_without_its_description_is_refused(tmp_path: Path, teacher) -> None:
    save_file(teacher.state_dict(), tmp_path / "m.safetensors")
    with pytest.raises(CheckpointError, match="holds weights only"):
        load_single_file(tmp_path / "m.safetensors")
    for header, says in (
        ("{", "header of"),
        ("[]", "holds a list"),
        ('{"kind": "generator"}', "does not describe a model"),
    ):
        save_file(teacher.state_dict(), tmp_path / "m.safetensors", {"realuid": header})
        with pytest.raises(CheckpointError, match=says):
            load_single_file(tmp_path / "m.safetensors")
    (tmp_path / "m.safetensors").write_bytes(b"1234")
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_single_file(tmp_path / "m.safetensors")
