"""Teachers of pipelines at other sizes than their default one, and what they are distilled on."""

from __future__ import annotations

from pathlib import Path

import pipelines
import pytest
import torch
from diffusers_folders import relative_error
from pipeline_runs import run

from realuid.data import Dataset
from realuid.errors import CheckpointError, ConfigError
from realuid.loaders import load_prompt_encoder, load_teacher
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
    with pytest.raises(ConfigError, match=r"size = 17, 16: .* are multiples of 2"):
        adopt_size(teacher, Dataset(torch.zeros(2, 3, 17, 16, dtype=torch.uint8), name="images"))
    with pytest.raises(ConfigError, match="the denoiser's have 4 channels"):
        teacher.network.resize((3, 8, 8))
    sd3 = load_teacher(pipelines.save("sd3", tmp_path / "sd3"))
    with pytest.raises(CheckpointError, match="on samples of"):
        sd3.network.resize((4, 64, 64))  # positions are for 16 x 16 tokens
    assert sd3.shape == (4, 8, 8) and teacher.shape == (4, 8, 8)
    with pytest.raises(CheckpointError, match="makes images of one size"):
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
