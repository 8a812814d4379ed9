"""A vector per sample: from a column of the data through training, guidance, sampling and exports."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from realuid.data import Dataset, load_dataset
from realuid.errors import ConfigError, DataError
from realuid.exports import export_student, load_any
from realuid.models import Condition, MatchingModel, Student, VectorUNet, from_pretrained, guided, save_pretrained
from realuid.on_data import conditions
from realuid.paths import LinearPath
from realuid.sampling import generate
from realuid.training import DistillConfig, TeacherConfig, distill_teacher, train_teacher
from realuid.training.batches import Batches, DrawOptions

UNET = {
    "sample_size": 8,
    "in_channels": 1,
    "out_channels": 1,
    "block_out_channels": [8, 8],
    "layers_per_block": 1,
    "down_block_types": ["DownBlock2D"] * 2,
    "up_block_types": ["UpBlock2D"] * 2,
    "norm_num_groups": 4,
    "add_attention": False,
}


def model() -> MatchingModel:
    torch.manual_seed(0)
    return MatchingModel(VectorUNet(3, **UNET), LinearPath()).eval()


@pytest.fixture(scope="module")
def data() -> Dataset:
    digits = load_dataset("digits").subset(slice(32))
    vector = torch.arange(96.0).reshape(32, 3) / 96
    return Dataset(digits.values, name="digits with vectors", columns={"vector": vector})


def test_rows_of_the_column_stay_with_their_images(data) -> None:
    draw = Batches(data, LinearPath(), seed=0, conditions=model().conditions).real("teacher", 0, 16)
    for x_0, vector in zip(draw.x_0, draw.condition["vector"], strict=True):
        row = round(float(vector[0]) * 32)
        assert torch.equal(x_0, data.values[row].float() / 127.5 - 1) and torch.equal(
            vector, data.columns["vector"][row]
        )
    generated = Batches(data, LinearPath(), seed=0, conditions=model().conditions).generated("generator", 0, 16)
    assert len(generated.condition["vector"].unique(dim=0)) > 8


def test_label_dropout_makes_vectors_zero(data) -> None:
    settings = {"conditions": model().conditions, "options": DrawOptions(label_dropout=0.5)}
    vectors = Batches(data, LinearPath(), 0, **settings).real("teacher", 0, 32).condition["vector"]
    whole = Batches(data, LinearPath(), 0, conditions=model().conditions).real("teacher", 0, 32).condition["vector"]
    zero = ~vectors.any(dim=1)
    assert 8 < int(zero.sum()) < 24 and torch.equal(vectors[~zero], whole[~zero])


def test_guidance_is_away_from_the_vector_zero() -> None:
    plain, x, t, v = model(), torch.randn(2, 1, 8, 8), torch.tensor([0.3, 0.8]), torch.randn(2, 3)
    given, null = plain(x, t, Condition(vector=v)), plain(x, t, Condition(vector=torch.zeros(2, 3)))
    assert not torch.allclose(given, null)
    torch.testing.assert_close(guided(plain, 3.0)(x, t, Condition(vector=v)), null + 3 * (given - null))


def test_from_data_to_student_and_back_from_its_folder(data, tmp_path) -> None:
    config = TeacherConfig(updates=2, batch=8, label_dropout=0.1, device="cpu")
    teacher = train_teacher(model(), data, config, tmp_path / "teacher")
    settings = DistillConfig(updates=2, batch=8, fake_updates=1, guidance=2.0, device="cpu")
    student = distill_teacher(teacher, data, settings, tmp_path / "student")
    before = Student(model()).model.network.projection[0].weight
    assert not torch.equal(student.model.network.projection[0].weight, before)
    again = from_pretrained(save_pretrained(student, tmp_path / "folder"))
    z, given = torch.randn(4, 1, 8, 8), conditions(student, data, 4)
    assert torch.equal(given["vector"], data.columns["vector"][:4])
    with torch.no_grad():
        assert torch.equal(again(z, given), student(z, given))
        assert not torch.equal(student(z, given), student(z, Condition(vector=torch.zeros(4, 3))))
    x = torch.cat(list(generate(student, 4, condition={"vector": given["vector"].tolist()}, seed=1)))
    assert torch.equal(x, torch.cat(list(generate(again, 4, condition=given, seed=1))))


def test_mistakes_are_said(data, tmp_path) -> None:
    with pytest.raises(
        ConfigError, match=r"the model is conditional on the vector 'vector': pass condition\['vector'\]"
    ):
        next(generate(model(), 2))
    with pytest.raises(DataError, match="has no column 'vector', which the model reads"):
        train_teacher(model(), load_dataset("digits"), TeacherConfig(updates=1, batch=8, device="cpu"), tmp_path / "x")
    with pytest.raises(DataError, match="column 'vector' of 'digits with vectors' has 3 rows for 32 samples"):
        Dataset(data.values, name=data.name, columns={"vector": torch.zeros(3, 3)})


@pytest.mark.slow
@pytest.mark.parametrize("to", ["torch", "diffusers"])
def test_exports_take_the_vector(to, tmp_path) -> None:
    student = Student(model())
    out = tmp_path / ("s.pt2" if to == "torch" else "s")
    assert export_student(student, out, to).difference < 1e-4
    exported = load_any(out)
    assert exported.contract.inputs == ("noise", "vector")
    x = torch.cat(list(generate(exported, 5, condition={"vector": torch.ones(5, 3)})))
    ours = torch.cat(list(generate(student, 5, condition={"vector": torch.ones(5, 3)})))
    torch.testing.assert_close(x, ours, atol=1e-5, rtol=0)


@pytest.mark.slow
def test_the_pipeline_takes_the_vector_by_name(tmp_path, monkeypatch) -> None:
    from diffusers import DiffusionPipeline

    student = Student(model())
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    export_student(student, tmp_path / "s", "diffusers")
    pipe = DiffusionPipeline.from_pretrained(tmp_path / "s", trust_remote_code=True)
    z, vector = torch.randn(2, 1, 8, 8), torch.randn(2, 3)
    images = pipe(batch_size=2, latents=z, vector=vector, output_type="pt").images
    with torch.no_grad():
        expected = (student(z, Condition(vector=vector)) / 2 + 0.5).clamp(0, 1)
    torch.testing.assert_close(images, expected, atol=1e-5, rtol=0)
    with pytest.raises(ValueError, match="pass vector, not none"):
        pipe(batch_size=2, latents=z)
    (snippet,) = re.findall(r"```python\n(.*?)```", (tmp_path / "s" / "README.md").read_text(), re.DOTALL)
    assert "    vector=torch.zeros(4, 3),\n" in snippet
    monkeypatch.chdir(tmp_path)
    exec(compile(snippet, "card", "exec"), {})
    assert Path("sample.png").is_file()
