"""Teachers of pipelines at other sizes than their default one, and what they are distilled on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pipelines
import pytest
import recorded_pipelines
import torch
from conftest import small_teacher
from diffusers_folders import relative_error
from PIL import Image
from pipeline_runs import run

import realuid
from realuid.cli.main import main
from realuid.data import Dataset, to_uint8
from realuid.errors import CheckpointError, ConfigError
from realuid.exports import load_any
from realuid.loaders import load_generator, load_prompt_encoder, load_teacher
from realuid.models import Student, resize, save_pretrained
from realuid.on_data import adopt_size


@pytest.fixture(scope="module")
def sdxl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pipelines.save("sdxl", tmp_path_factory.mktemp("sdxl") / "pipeline")


@torch.no_grad()
def test_a_teacher_takes_the_size_of_the_data(sdxl: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SDXL is also told the size: as its pipeline at that size."""
    teacher = load_teacher(sdxl)
    assert teacher.image_shape == (3, 16, 16)
    adopt_size(teacher, Dataset(torch.zeros(2, 3, 32, 24, dtype=torch.uint8), name="images"))
    assert teacher.shape == (4, 16, 12) and teacher.image_shape == (3, 32, 24)
    monkeypatch.setitem(pipelines.SIZE, "sdxl", (32, 24))
    heard = run("sdxl", pipelines.make("sdxl"), [pipelines.PROMPT])
    condition = load_prompt_encoder(teacher.prompts).encode([pipelines.PROMPT])
    t = (heard.told[0].double() + 1) / 1000
    assert relative_error(teacher(heard.inputs[0], t.float().expand(1), condition), heard.outputs[0]) < 1e-6
    assert load_teacher(sdxl, size=(32, 24)).network.settings == teacher.network.settings


def test_sizes_that_it_cannot_make_are_refused(sdxl: Path, tmp_path: Path) -> None:
    teacher = load_teacher(sdxl)
    with pytest.raises(ConfigError, match=r"size = 17 x 16: .* are multiples of 2"):
        adopt_size(teacher, Dataset(torch.zeros(2, 3, 17, 16, dtype=torch.uint8), name="images"))
    with pytest.raises(ConfigError, match="the denoiser's have 4 channels"):
        teacher.network.resize((3, 8, 8))
    sd3 = load_teacher(pipelines.save("sd3", tmp_path / "sd3"))
    with pytest.raises(CheckpointError, match="on samples of"):
        sd3.network.resize((4, 64, 64))  # positions are for 16 x 16 tokens
    assert sd3.shape == (4, 8, 8) and teacher.shape == (4, 8, 8)
    with pytest.raises(ConfigError, match=r"makes images of one size, 8 x 8. Leave size out"):
        import diffusers_folders as folders
        from diffusers import DDPMScheduler

        load_teacher(folders.save_ddpm(tmp_path / "ddpm", folders.unet(), DDPMScheduler()), size=(16, 16))


@torch.no_grad()
def test_half_precision_stays(tmp_path: Path) -> None:
    """Of the denoiser; samples and results are float32, and so is the autoencoder."""
    for variant, dtype in ((None, torch.bfloat16), ("fp16", torch.float16)):
        pipelines.make("sd_epsilon").to(dtype).save_pretrained(tmp_path / str(variant), variant=variant)
        teacher = load_teacher(tmp_path / str(variant))
        condition = load_prompt_encoder(teacher.prompts).encode(["a cat"])
        assert {p.dtype for p in teacher.network.parameters()} == {dtype} and condition["text"].dtype == dtype
        assert {p.dtype for p in teacher.codec.autoencoder.parameters()} == {torch.float32}
        assert teacher(torch.randn(1, 4, 8, 8), torch.tensor([0.5]), condition).dtype == torch.float32


@pytest.mark.slow
def test_students_of_pipelines_are_sampled_at_any_size(
    sdxl: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """--size, and size in Python: as the same weights in a network of that size; mistakes are a line."""
    made = Student(load_teacher(sdxl), calls=2)
    save_pretrained(made, tmp_path / "student")
    wide = load_generator(tmp_path / "student", size=(24, 32))
    assert wide.image_shape == (3, 24, 32) and load_generator(tmp_path / "student").image_shape == (3, 16, 16)
    expected = realuid.sample(Student(load_teacher(sdxl, size=(24, 32)), calls=2), prompts=["a cat"], seed=3)
    assert torch.equal(realuid.sample(wide, prompts=["a cat"], seed=3), expected)
    words = ["sample", str(tmp_path / "student"), "--prompts", "a cat", "--count", "1", "--seed", "3", "--out"]
    assert main([*words, str(tmp_path / "wide.png"), "--size", "24", "32"]) == 0
    with Image.open(tmp_path / "wide.png") as picture:  # magnified, within a margin
        scale = (picture.width - 4) // 32
        inner = np.asarray(picture)[2:-2:scale, 2:-2:scale]
    assert np.array_equal(inner, to_uint8(expected)[0].permute(1, 2, 0).numpy())
    for size, message in (
        (["24"], "size = 24: allowed are positive whole numbers, height and width"),
        (["0", "32"], "size = 0 x 32: allowed are positive whole numbers"),
        (["2", "16", "32"], "size = 2 x 16 x 32: needed are two numbers: height and width."),
        (["17", "32"], "size = 17 x 32: the autoencoder takes heights and widths that are multiples of 2."),
    ):
        capsys.readouterr()
        assert main([*words, str(tmp_path / "none.png"), "--size", *size]) == 2
        assert message in " ".join(capsys.readouterr().err.split()) and not (tmp_path / "none.png").exists()
        with pytest.raises(ConfigError, match=message[:15]):
            load_teacher(sdxl, size=tuple(map(int, size)))
    with pytest.raises(ConfigError, match="size = 24: allowed are positive whole numbers"):
        load_teacher(sdxl, size=24)
    assert load_teacher(pipelines.make("sdxl"), size=(24, 32)).image_shape == (3, 24, 32)


def test_sizes_that_a_denoiser_cannot_make_are_named(tmp_path: Path) -> None:
    """FLUX's patches of 2 x 2, SD3's largest grid of positions, and a call that was recorded at one size."""
    flux = load_teacher(pipelines.save("flux_dev", tmp_path / "flux"))
    height, width = flux.image_shape[1:]
    odd = (height + flux.codec.factor, width)
    with pytest.raises(ConfigError, match=rf"size = {odd[0]} x {width}: the denoiser cannot make it .* multiples of"):
        resize(flux, odd)
    resize(flux, (height + 2 * flux.codec.factor, width))
    assert flux.image_shape == (3, height + 2 * flux.codec.factor, width)
    with pytest.raises(ConfigError, match=r"size = 128 x 128: the denoiser cannot make it"):
        load_teacher(pipelines.save("sd3", tmp_path / "sd3"), size=(128, 128))
    recorded_pipelines.aura_flow().save_pretrained(tmp_path / "aura")
    save_pretrained(Student(load_teacher(tmp_path / "aura", size=(16, 16))), tmp_path / "student")
    assert load_generator(tmp_path / "student", size=(16, 16)).image_shape == (3, 16, 16)
    with pytest.raises(
        ConfigError, match=r"the call of this pipeline was recorded with .*, the only ones that it takes"
    ):
        load_generator(tmp_path / "student", size=(32, 32))


def test_videos_are_refused_before_they_are_sampled(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    save_pretrained(load_teacher(pipelines.save("wan", tmp_path / "wan"), size=(5, 16, 16)), tmp_path / "teacher")
    wan = str(tmp_path / "teacher")
    assert main(["sample", wan, "--prompts", "a cat", "--out", str(tmp_path / "none.png")]) == 2
    assert "makes videos, which are not written here" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "none.png").exists()


def test_models_of_one_size_refuse_another(tmp_path: Path) -> None:
    save_pretrained(Student(small_teacher()), tmp_path / "student")
    with pytest.raises(ConfigError, match=r"size = 16 x 16: the model makes images of one size, 8 x 8. Leave size out"):
        load_any(tmp_path / "student", size=(16, 16))
    realuid.export(Student(small_teacher()), tmp_path / "pipeline", "diffusers")
    with pytest.raises(ConfigError, match="makes images of one size"):
        load_any(tmp_path / "pipeline", size=(16, 16))
