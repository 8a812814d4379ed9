"""What objects say of themselves: one short line, and a table or picture in notebooks."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import diffusers_folders as folders
import pytest
import torch
from conftest import small_teacher
from diffusers import DDPMPipeline, DDPMScheduler
from PIL import Image

import realuid
from realuid.data import Dataset
from realuid.errors import ConfigError
from realuid.loaders.readings import Check
from realuid.models import Condition, Student
from realuid.recipes.evaluate import Evaluation

EVALUATION = Evaluation([1.0, 3.0], [0.5, 0.5], [0.25, 0.75], [1.0, 1.0], samples=1000, calls=1)


def test_models_are_a_line_and_not_a_network() -> None:
    model = small_teacher(num_classes=3)
    model.class_names = ("<b>cat</b>", "dog", "owl")
    count = sum(parameter.numel() for parameter in model.parameters())
    for each in (model, Student(model, 0.5)):
        line = repr(each)
        assert "\n" not in line and len(line) < 250 and f"{count:,} parameters" in line and "(1, 8, 8)" in line
        html = each._repr_html_()
        assert "<table>" in html and "&lt;b&gt;cat&lt;/b&gt;" in html and "<b>cat" not in html
    assert repr(Student(model, 0.5)).startswith("Student(path: linear, prediction: velocity, calls: 1, at time 0.5")


def test_evaluations() -> None:
    assert repr(EVALUATION) == (
        "Evaluation(FD: 2±1.4, KID: 0.5±0, precision: 0.5±0.35, recall: 1±0, calls: 1, samples: 1,000, 2 seeds)"
    )
    assert "2±1.4" in EVALUATION._repr_html_()


def test_data_shows_its_first_images(digits) -> None:
    html = digits._repr_html_()
    assert "1797 images of shape (1, 8, 8), 10 classes" in html
    (uri,) = re.findall(r'src="data:image/png;base64,([^"]+)"', html)
    picture = Image.open(io.BytesIO(base64.b64decode(uri)))
    assert picture.size == (4 * 66 + 2, 4 * 66 + 2)
    assert torch.equal(
        torch.tensor(list(picture.getdata())).view(266, 266)[2:66, 2:66][::8, ::8], digits.values[0, 0].long()
    )
    assert "img" in realuid.load_dataset("toy:moons")._repr_html_()
    assert "img" not in Dataset(torch.zeros(3, 5))._repr_html_()


def test_checks_and_conditions_print_no_tensors(digits) -> None:
    check = realuid.check_teacher(small_teacher(), "digits", images=4)
    assert isinstance(check, Check) and repr(check) == f"Check({check.verdict})"
    assert len(repr(Condition(label=torch.zeros(1000)))) < 100


def test_models_of_diffusers_in_memory(tmp_path: Path) -> None:
    unet, scheduler = folders.unet(1), DDPMScheduler(num_train_timesteps=100)
    expected = realuid.load_teacher(folders.save_ddpm(tmp_path / "m", unet, scheduler))
    for model in (
        realuid.load_teacher(DDPMPipeline(unet, scheduler)),
        realuid.load_teacher(unet, scheduler=scheduler),
    ):
        assert torch.equal(realuid.sample(model, 2, steps=3), realuid.sample(expected, 2, steps=3))
    with pytest.raises(ConfigError, match="Pass its scheduler"):
        realuid.load_teacher(unet)
    with pytest.raises(ConfigError, match="the pipeline has one"):
        realuid.load_teacher(DDPMPipeline(unet, scheduler), scheduler=scheduler)


def test_callbacks_see_the_log(tmp_path: Path) -> None:
    seen: list[tuple[int, set[str]]] = []
    realuid.distill(
        small_teacher(),
        "digits",
        config=realuid.DistillConfig(updates=4, batch=8, fake_updates=1, log_every=2, device="cpu"),
        out=tmp_path,
        trust_teacher=True,
        callbacks=[lambda update, values: seen.append((update, set(values)))],
    )
    assert [update for update, _ in seen] == [2, 4] and {"gap", "generator/loss"} <= seen[0][1]
