"""The recipe `emoji`: from prepared latents and captions to a report, and what its models are measured with."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from captioned import zipped
from diffusers import AutoencoderDC
from PIL import Image
from torch import Tensor

from realuid.cli.main import main
from realuid.data import load_dataset
from realuid.errors import DataError
from realuid.loaders.codecs import load_autoencoder
from realuid.loaders.words import Words
from realuid.metrics.features import FeatureExtractor
from realuid.metrics.joint import JointSpace, OnFeatures, small_space
from realuid.metrics.skin_tones import SKIN, TONES
from realuid.models import Condition, NetworkConfig, save_pretrained
from realuid.models.prompts import POOLED, TEXT
from realuid.on_data.prepare import encoding_of, prepare
from realuid.recipes import EvaluateConfig, Recipe, load_recipe, prompts
from realuid.recipes.checks import check_demo
from realuid.recipes.demo import run_demo
from realuid.recipes.prompts import evaluate_prompts, prompts_of
from realuid.recipes.run import new_teacher

WHO = ("man", "woman", "surfer", "hand")
SEEN = [f"{who}, {tone} skin tone" for i, who in enumerate(WHO) for j, tone in enumerate(TONES) if (i + j) % 5]
UNSEEN = [f"{who}, {tone} skin tone" for i, who in enumerate(WHO) for j, tone in enumerate(TONES) if not (i + j) % 5]


def emoji(captions: Sequence[str]) -> Tensor:
    """16x16 images on white with a square of the skin's colour, at a place of its own for everybody."""
    images = torch.full((len(captions), 3, 16, 16), 255, dtype=torch.uint8)
    for image, caption in zip(images, captions, strict=True):
        who, tone = caption.removesuffix(" skin tone").split(", ")
        left = 3 * WHO.index(who)
        image[:, 4:10, left : left + 6] = SKIN[TONES.index(tone)].to(torch.uint8)[:, None, None]
    return images


def archive(folder: Path, captions: Sequence[str]) -> Path:
    """A zip as Hugging Face's imagefolder reads it."""
    folder.mkdir()
    files = {}
    for number, image in enumerate(emoji(captions)):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(folder / "one.png")
        files[f"{number:02}.png"] = (folder / "one.png").read_bytes()
    rows = [{"file_name": f"{i:02}.png", "text": text} for i, text in enumerate(captions)]
    files["metadata.jsonl"] = "\n".join(map(json.dumps, rows)).encode()
    return zipped(folder, files)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """train.zip and test.zip in folders, and train prepared with latents of 4 channels and a quarter of the side."""
    place = tmp_path_factory.mktemp("emoji")
    torch.manual_seed(0)
    names: dict[str, Any] = {f"{part}_block_out_channels": (8, 8, 8) for part in ("encoder", "decoder")}
    names |= {f"{part}_layers_per_block": (0, 1, 1) for part in ("encoder", "decoder")}
    names |= {f"{part}_block_types": ("ResBlock",) * 3 for part in ("encoder", "decoder")}
    names |= {f"{part}_qkv_multiscales": ((),) * 3 for part in ("encoder", "decoder")}
    AutoencoderDC(in_channels=3, latent_channels=4, **names).save_pretrained(place / "autoencoder")
    data = load_dataset(archive(place / "train", SEEN))
    archive(place / "test", UNSEEN)
    codec = load_autoencoder(place / "autoencoder")
    prepare(data, place / "data", encoding_of(codec, str(place / "autoencoder"), Words()))
    return place


class ByTone(JointSpace):
    """Images and captions are their skin tones."""

    def images(self, x: Tensor) -> Tensor:
        pixels = x.permute(0, 2, 3, 1).reshape(len(x), -1, 1, 3)
        return torch.eye(5)[(pixels == SKIN).all(-1).any(1).float().argmax(1)]

    def captions(self, captions: Sequence[str]) -> Tensor:
        return torch.eye(5)[[TONES.index(c.removesuffix(" skin tone").split(", ")[1]) for c in captions]]


def test_prepared_data_is_measured_by_the_encoder_that_prepared_it(folder, monkeypatch) -> None:
    """Of four unseen captions two are drawn right, one in another tone, and one is blank."""
    monkeypatch.setattr(prompts, "small_space", lambda *_, **__: ByTone())
    data = load_dataset(folder / "data")
    asked = prompts_of(data, EvaluateConfig(prompts=str(folder / "test" / "d.zip")))
    assert asked is not None and asked.encoder.source == "words" and asked.unseen(data)
    assert list(asked.texts) == UNSEEN
    shown = emoji([*UNSEEN[:2], SEEN[0], UNSEEN[3]]).float() / 127.5 - 1
    shown[3] = 1.0
    monkeypatch.setattr(prompts, "generate_each_call", lambda *_, **__: iter([[shown.repeat_interleave(2, 0)]]))
    found = evaluate_prompts(new_teacher(load_recipe("emoji"), data), data, asked, EvaluateConfig(per_prompt=2))
    assert found["skin_tone"] == 0.5 and "digit" not in found
    assert prompts_of(load_dataset(folder / "train" / "d.zip"), EvaluateConfig()) is None


def test_of_many_captions_some_are_measured_with(folder, monkeypatch) -> None:
    monkeypatch.setattr(prompts, "small_space", lambda *_, **__: ByTone())
    monkeypatch.setattr(prompts, "_MOST", 4)
    asked = prompts_of(load_dataset(folder / "data"), EvaluateConfig())
    assert asked is not None and list(asked.texts) == [SEEN[i] for i in (0, 4, 8, 12)]


def test_the_recipe_builds_a_teacher_that_reads_captions_on_latents(folder) -> None:
    recipe = load_recipe("emoji")
    teacher = new_teacher(recipe, load_dataset(folder / "data"))
    assert teacher.shape == (4, 4, 4) and teacher.image_shape == (3, 16, 16) and teacher.prompts == "words"
    assert [spec.name for spec in teacher.conditions] == ["text"]
    assert {recipe.student(name).calls or 1 for name in recipe.students} == {1, 4}


def test_missing_prompts_are_said_before_anything_is_trained(folder) -> None:
    recipe, data = dataclasses.replace(load_recipe("emoji"), students={}), load_dataset(folder / "data")
    with pytest.raises(DataError, match=r"no data at 'emoji-64x64-test.zip'"):
        check_demo(recipe, new_teacher(recipe, data), data)


def test_files_of_prompts_are_found_from_any_folder(folder, monkeypatch) -> None:
    monkeypatch.chdir(folder / "test")
    recipe = dataclasses.replace(Recipe(), evaluate=EvaluateConfig(prompts="d.zip"))
    assert recipe.anchored().evaluate.prompts == str(folder / "test" / "d.zip")
    assert Recipe().anchored().evaluate.prompts == ""


def test_prompts_need_data_with_embeddings(folder, tmp_path, capsys) -> None:
    from conftest import small_teacher

    from realuid.models import Generator

    model = save_pretrained(Generator(small_teacher()), tmp_path / "m")
    asked = ["evaluate", str(model), "--data.source", "digits", "--prompts", str(folder / "test" / "d.zip")]
    assert main(asked) == 2
    assert "but 'digits' has no embeddings of captions. Pass --data.prompt-encoder" in capsys.readouterr().err


class Pooling(Words):
    """An encoder that makes pooled vectors as well, as MiniLM does, which the recipe's teacher does not read."""

    def encode(self, prompts: Sequence[str]) -> Condition:
        found = super().encode(prompts)
        return Condition({**found, POOLED: found[TEXT].mean(1)})


class Mean(FeatureExtractor):
    """Mean colours of the quarters of images."""

    def __init__(self) -> None:
        super().__init__()
        self.num_features, self.key = 48, "quarters"

    def forward(self, x: Tensor) -> Tensor:
        return torch.nn.functional.adaptive_avg_pool2d(x.float(), 4).flatten(1)


@pytest.mark.slow
def test_a_space_on_features_is_cached_and_finds_captions(folder, tmp_path, monkeypatch) -> None:
    """Of all 16 captions that it was trained on; a space that is read back gives the same vectors."""
    monkeypatch.setenv("REALUID_CACHE", str(tmp_path))
    monkeypatch.setattr(OnFeatures, "updates", 150)
    data = load_dataset(folder / "data")
    spaces = [small_space(data, Words(), extractor=Mean()) for _ in range(2)]
    assert isinstance(spaces[0].image_tower, OnFeatures) and spaces[0].key.endswith("quarters")
    images, texts = spaces[1].images(emoji(SEEN)), spaces[1].captions(SEEN)
    assert ((images @ texts.mT).argmax(1) == torch.arange(len(SEEN))).float().mean() > 0.9
    torch.testing.assert_close(images, spaces[0].images(emoji(SEEN)))


@pytest.mark.slow
def test_the_recipe_runs_from_prepared_data_to_a_report(folder, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("REALUID_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(OnFeatures, "updates", 5)
    monkeypatch.setattr(prompts, "EfficientNet", Mean)
    monkeypatch.setattr(prompts, "load_prompt_encoder", lambda source: Pooling())
    monkeypatch.setattr("realuid.metrics.pretrained.EfficientNet", Mean)
    recipe = load_recipe("emoji")
    brief: dict[str, Any] = {"updates": 2, "batch": 4, "warmup": 1, "sample_every": 0, "save_every": 0}
    recipe = dataclasses.replace(
        recipe,
        data=dataclasses.replace(recipe.data, source=str(folder / "data")),
        network=NetworkConfig(channels=(8, 8), blocks=1, attention_at=(2,), head_channels=8),
        teacher=dataclasses.replace(recipe.teacher, **brief),
        distill=dataclasses.replace(recipe.distill, quick_samples=8, **brief),
        evaluate=dataclasses.replace(
            recipe.evaluate, samples=20, steps=2, prompts=str(folder / "test" / "d.zip"), per_prompt=2
        ),
    )
    results = run_demo(recipe, tmp_path / "demo")
    assert [entry["name"] for entry in results["students"]] == ["uid-4", "uid", "mixture", "realuid", "dfd"]
    assert results["held_out_prompts"] and results["prompts_measured"] == 4
    four = results["students"][0]["prompts"]
    assert len(four["by_calls"]) == 4 and {"retrieval", "diversity", "skin_tone"} <= four.keys()
    assert "right skin tone" in (tmp_path / "demo" / "report.html").read_text()


@pytest.mark.slow
def test_one_of_the_recipe_s_students_is_distilled_by_name(folder, tmp_path, capsys) -> None:
    """Whatever the others are: RealUID's alpha would be refused with the mixture's objective."""
    data = load_dataset(folder / "data")
    tiny = NetworkConfig(channels=(8, 8), blocks=1, attention_at=(2,), head_channels=8)
    teacher = new_teacher(dataclasses.replace(load_recipe("emoji"), network=tiny), data)
    place = save_pretrained(teacher, tmp_path / "teacher")
    asked = ["distill", "emoji:mixture", "--teacher", str(place), "--data.source", str(folder / "data")]
    assert main([*asked, "--batch", "4", "--dry-run"]) == 0
    assert "objective: mixture" in capsys.readouterr().out
