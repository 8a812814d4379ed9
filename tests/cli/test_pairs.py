"""Pairs on the command line: what has no use, does not fit or is another degradation is one line."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from conftest import small_teacher
from PIL import Image

from realuid.cli.main import main
from realuid.cli.options import asked_data
from realuid.data import load_dataset
from realuid.errors import ConfigError
from realuid.models import (
    Generator,
    MatchingModel,
    NetworkConfig,
    build_network,
    from_pretrained,
    save_pretrained,
)
from realuid.paths import BrownianBridge
from realuid.recipes import DataConfig, parse_recipe
from realuid.recipes.run import new_teacher
from realuid.training.compatibility import check_degradation


def bridge(degradation: str = "", classes: int = 0) -> MatchingModel:
    torch.manual_seed(0)
    config = NetworkConfig(channels=(8, 16), blocks=1, attention_at=())
    network = build_network(config, (1, 8, 8), classes, sees_source=True)
    model = MatchingModel(network, BrownianBridge())
    model.degradation = degradation
    return model


@pytest.fixture
def models(tmp_path: Path) -> dict[str, str]:
    """Folders of a flow, a bridge for jpeg-5 that says its data, and a generator of it."""
    data = {"source": "digits", "pairs": "jpeg-5"}
    save_pretrained(small_teacher(), tmp_path / "flow", data={"source": "digits"})
    save_pretrained(bridge("jpeg-5"), tmp_path / "bridge", data=data)
    save_pretrained(Generator(bridge("jpeg-5")), tmp_path / "student", data=data)
    return {name: str(tmp_path / name) for name in ("flow", "bridge", "student")}


def refused(capsys: pytest.CaptureFixture, *words: object) -> str:
    assert main([str(word) for word in words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("realuid: error: ")
    return line


def test_pairs_without_use_are_refused(capsys, models, tmp_path) -> None:
    pairs, out = ("--data.pairs", "jpeg-5"), tmp_path / "out.png"
    says = "data.pairs = jpeg-5: path 'linear' starts from noise and has no use for pairs"
    assert says in refused(capsys, "train", "demo", *pairs, "--out", out)
    assert says in refused(capsys, "demo", "demo", *pairs, "--out", out)
    no_source = refused(capsys, "train", "demo", "--path.no-sees-source", "--out", out)
    assert "path.sees_source = False: path 'linear' starts from noise" in no_source
    distill = refused(capsys, "distill", "digits-bridge", "--teacher", models["flow"], "--out", out)
    assert "the teacher's path 'linear' starts from noise" in distill  # pairs of the recipe
    starts = "data.pairs = jpeg-5: the model starts from noise"
    for command in ("sample", "evaluate", "check-teacher"):
        assert starts in refused(capsys, command, models["flow"], *pairs)
    says = "data.source = digits: the model starts from noise and reads no data"
    assert says in refused(capsys, "sample", models["flow"], "--data.source", "digits", "--out", out)
    assert not out.exists()


def test_what_only_teachers_do_is_refused_for_generators(capsys, models, tmp_path) -> None:
    (tmp_path / "in").mkdir()
    Image.new("L", (8, 8)).save(tmp_path / "in" / "a.png")
    restore = ("restore", models["student"], tmp_path / "in", tmp_path / "out")
    for words in (restore, ("sample", models["student"]), ("evaluate", models["student"])):
        assert "guidance = 3.0: the model is a student" in refused(capsys, *words, "--guidance", 3)
        assert "sampler = heun: the model is a student" in refused(capsys, *words, "--sampler", "heun")
    assert not (tmp_path / "out").exists()


def test_data_that_does_not_fit_a_model_of_pairs_is_named(capsys, models, tmp_path) -> None:
    (tmp_path / "large").mkdir()
    Image.new("RGB", (16, 16)).save(tmp_path / "large" / "a.png")
    words = ("--data.source", tmp_path / "large", "--data.pairs", "sr-box-2", "--out", tmp_path / "x.png")
    said = refused(capsys, "sample", models["bridge"], *words)
    assert "samples of shape (1, 8, 8), but the data has shape (3, 16, 16)" in said
    assert not (tmp_path / "x.png").exists()


def test_a_class_without_a_pair_is_named(capsys, tmp_path) -> None:
    for label, level in enumerate((50, 200)):
        (tmp_path / "data" / str(label)).mkdir(parents=True)
        Image.new("L", (8, 8), level).save(tmp_path / "data" / str(label) / "a.png")
    save_pretrained(Generator(bridge(classes=3)), tmp_path / "model")
    words = ("sample", tmp_path / "model", "--data.source", tmp_path / "data", "--data.pairs", "blur-1", "--count", 3)
    for missing in ((2,), (1, 2)):
        line = refused(capsys, *words, "--classes", *missing, "--out", tmp_path / "x.png")
        assert "--classes 2: 'data' has no pair of this class, only of 0, 1. Choose among them" in line
    assert "--classes 3: allowed are 0 to 2" in refused(capsys, *words, "--classes", 3, "--out", tmp_path / "x.png")
    assert not (tmp_path / "x.png").exists()
    assert main([*map(str, words), "--classes", "1", "--out", str(tmp_path / "x.png")]) == 0
    with Image.open(tmp_path / "x.png") as image:  # triples, the last of each is the truth
        assert all(image.convert("L").getpixel((2 + 66 * (3 * i + 2), 2)) == 200 for i in range(3))


def test_pairs_alone_are_of_the_data_the_model_was_trained_on(models, tmp_path) -> None:
    out = tmp_path / "x.png"
    pixels = []
    for pairs in ((), ("--data.pairs", "blur-1")):
        assert main(["sample", models["student"], "--count", "2", *pairs, "--out", str(out)]) == 0
        with Image.open(out) as image:
            pixels.append(torch.tensor(list(image.convert("L").getdata())).reshape(image.height, -1)[2:66, 2:66])
    truth = load_dataset("digits", pairs="blur-1").sources[0, 0]
    assert torch.equal(pixels[1][::8, ::8], truth.int()) and not torch.equal(*pixels)


def test_other_pairs_come_without_the_seed_of_the_models_own(tmp_path) -> None:
    data = {"source": "digits", "pairs": "inpaint-freeform", "pairs_seed": 5}
    model = str(save_pretrained(Generator(bridge("inpaint-freeform")), tmp_path / "strokes", data=data))
    assert asked_data(model, DataConfig("")) == DataConfig(**data)
    assert asked_data(model, DataConfig("", pairs="blur-1")) == DataConfig("digits", pairs="blur-1")
    assert asked_data(model, DataConfig("", pairs_seed=3)) == DataConfig(**{**data, "pairs_seed": 3})


def test_another_degradation_than_the_teachers_is_refused(capsys, models, tmp_path) -> None:
    words = ("distill", "digits-bridge", "--teacher", models["bridge"], "--out", tmp_path / "run", "--trust-teacher")
    said = refused(capsys, *words)
    assert "data.pairs = sr-box-2, but the teacher was trained on pairs of jpeg-5. Pass --data.pairs jpeg-5" in said
    assert not (tmp_path / "run").exists()
    assert from_pretrained(models["student"]).model.degradation == "jpeg-5"
    recipe = parse_recipe("base: digits-bridge", "here")
    teacher = new_teacher(recipe, data := recipe.data.load())
    assert teacher.degradation == "sr-box-2"
    check_degradation(teacher, data)
    check_degradation(bridge(), data)  # of a teacher that does not say, nothing is known
    with pytest.raises(ConfigError, match="trained on pairs of blur-1"):
        check_degradation(bridge("blur-1"), data)


def test_pairs_that_are_not_there_are_named(capsys, models, tmp_path) -> None:
    (tmp_path / "inputs").mkdir()
    words = ("train", "digits-bridge", "--out", tmp_path / "run", "--data.pairs")
    assert "'digits' is no folder or zip" in refused(capsys, *words, tmp_path / "inputs")
    missing = refused(capsys, *words, tmp_path / "nowhere")
    assert "unknown kind of pairs" in missing and f"And no folder or zip is at '{tmp_path / 'nowhere'}'" in missing
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    said = refused(capsys, "restore", models["student"], tmp_path / "a.png", tmp_path / "out")
    assert "a.png' is a single image. Put images into a folder or a zip" in said
