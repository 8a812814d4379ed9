"""From a text-to-image pipeline and captioned images to a student and its images, by the commands of the guide."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pipelines
import pytest
import torch
from captioned import metadata, zipped
from PIL import Image

from realuid.cli.main import main
from realuid.data import load_dataset
from realuid.exports import load_any
from realuid.loaders import load_model, load_prompt_encoder
from realuid.models import guided

CAPTIONS = ["a red cat", "a blue dog", "a red cat", "the green seven"]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Captioned images of another size than the teacher's."""
    random, files = np.random.default_rng(0), {}
    for i in range(len(CAPTIONS)):
        path = tmp_path / f"{i}.png"
        Image.fromarray(random.integers(256, size=(20, 24, 3), dtype=np.uint8)).save(path)
        files[path.name] = path.read_bytes()
    return zipped(tmp_path, {**files, "metadata.jsonl": metadata(*files, captions=CAPTIONS)})


@pytest.mark.slow
def test_a_pipeline_becomes_a_student_that_is_sampled_with_prompts(photos: Path, tmp_path: Path, capsys) -> None:
    teacher, prepared, run = pipelines.save("sd_epsilon", tmp_path / "teacher"), tmp_path / "prepared", tmp_path / "run"
    assert main(["prepare", str(photos), str(prepared), "--teacher", str(teacher)]) == 0
    assert f"realuid distill --teacher {teacher} --data.source {prepared}" in capsys.readouterr().out.replace("\n", "")
    data, encoder = load_dataset(prepared), load_prompt_encoder(teacher)
    assert data.shape == (3, 16, 16) and list(data.captions) == CAPTIONS
    assert data.columns["latent"][:].shape == (4, 4, 8, 8)
    text = data.columns["text"][torch.arange(4)].float()
    torch.testing.assert_close(text, encoder.encode(CAPTIONS)["text"].float(), rtol=0, atol=1e-3)  # half precision

    how = [
        "--updates",
        "2",
        "--batch",
        "2",
        "--fake-updates",
        "1",
        "--calls",
        "2",
        "--guidance",
        "4",
        "--device",
        "cpu",
    ]
    how += [
        "--trust-teacher",
        "--lora-rank",
        "2",
        "--fake-start",
        "teacher",
        "--generator-lr",
        "0.05",
        "--evaluate-every",
        "0",
    ]
    where = ["--teacher", str(teacher), "--data.source", str(prepared), "--out", str(run)]
    assert main(["distill", "demo", *where, *how]) == 0
    student = load_any(run)
    assert student.model.prompts == str(teacher) and student.calls == 2

    for prompts, name in ((["a red cat", "a blue dog"], "a"), (["a red cat", "the green seven"], "b")):
        asked = ["sample", str(run), "--prompts", *prompts, "--out", str(tmp_path / f"{name}.png"), "--seed", "3"]
        assert main([*asked, "--count", "2"]) == 0
    a, b = (np.asarray(Image.open(tmp_path / f"{name}.png")).astype(int) for name in "ab")
    assert a.shape == b.shape and np.abs(a - b).max() > 0
    same = np.flatnonzero(np.abs(a - b).max(axis=(0, 2)) == 0)
    assert len(same) >= 16  # the column of the prompt that both have

    z, condition = torch.randn(2, 4, 8, 8), encoder.encode(CAPTIONS[:2])
    base = load_model(teacher)
    base.network.null = encoder.null()
    t = torch.full((2,), 0.5)
    with torch.no_grad():  # what learned is the student, not its teacher
        assert (guided(base, 4.0)(z, t, condition) - student.model(z, t, condition)).abs().max() > 1e-3


def test_a_pipeline_without_a_text_encoder_is_refused_by_prepare(photos: Path, tmp_path: Path, capsys) -> None:
    teacher = pipelines.save("sd_epsilon", tmp_path / "teacher")
    shutil.rmtree(teacher / "text_encoder")
    index = json.loads((teacher / "model_index.json").read_text())
    (teacher / "model_index.json").write_text(json.dumps({**index, "text_encoder": [None, None]}))
    before = {path.name for path in tmp_path.iterdir()}
    capsys.readouterr()
    assert main(["prepare", str(photos), str(tmp_path / "out"), "--teacher", str(teacher)]) == 2
    said = capsys.readouterr().err
    assert f"'{teacher}' reads prompts, but has no text encoder. Pass --prompt-encoder." in " ".join(said.split())
    assert said.count("\n") == 1 and {path.name for path in tmp_path.iterdir()} == before
