"""Data with embedded captions: masks travel with their text, and the data's null is what guidance leaves."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from stored import stored

from realuid.data import Dataset, load_dataset
from realuid.data.columns import Rows
from realuid.errors import ConfigError, DataError
from realuid.loaders import load_generator
from realuid.models import Condition, MatchingModel, NetworkConfig, build_network, guided
from realuid.on_data import adopt_null, conditions
from realuid.paths import LinearPath
from realuid.recipes.config import Recipe
from realuid.recipes.run import new_teacher
from realuid.sampling import generate
from realuid.training import DistillConfig, TeacherConfig, distill_teacher, train_teacher
from realuid.training.batches import Batches, DrawOptions

SMALL = NetworkConfig(channels=(8, 16), blocks=1, attention_at=(4,), head_channels=8)
LENGTHS = torch.tensor([1, 2, 3, 5])


@pytest.fixture(scope="module")
def data() -> Dataset:
    """32 digits with four captions of different lengths, in half precision; behind their end is what must not count."""
    digits = load_dataset("digits").subset(slice(32))
    g = torch.Generator().manual_seed(0)
    text, mask = torch.randn(4, 5, 6, generator=g).half(), torch.arange(5) < LENGTHS[:, None]
    row = torch.arange(32) % 4
    nulls = {"text": torch.randn(1, 5, 6, generator=g).half(), "text_mask": torch.arange(5)[None] < 2}
    columns = {"text": Rows(text, row), "text_mask": Rows(mask, row)}
    return Dataset(digits.values, name="captioned", columns=columns, nulls=nulls)


def model(null: Dataset | None = None) -> MatchingModel:
    torch.manual_seed(0)
    made = MatchingModel(build_network(SMALL, (1, 8, 8), text=6), LinearPath()).eval()
    if null is not None:
        adopt_null(made, null)
    return made


def trimmed(condition: Condition, i: int) -> Condition:
    """The condition of one sample, without what its mask leaves out."""
    return Condition(text=condition["text"][i, condition["text_mask"][i]][None])


def test_what_a_mask_leaves_out_has_no_influence(data) -> None:
    plain, x, t = model(), torch.randn(4, 1, 8, 8), torch.rand(4)
    given = conditions(plain, data, 4)
    together = plain(x, t, given)
    alone = [plain(x[i : i + 1], t[i : i + 1], trimmed(given, i)) for i in range(4)]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-6, rtol=1e-6)
    assert not torch.allclose(together, plain(x, t, Condition(text=given["text"])), atol=1e-4)


@pytest.mark.parametrize("on_disk", [False, True])
def test_text_and_mask_stay_with_their_images(data, on_disk) -> None:
    text, mask = data.columns["text"][:].float(), data.columns["text_mask"][:]
    read = dataclasses.replace(data, columns={"text": text.half(), "text_mask": mask})
    used = stored(read) if on_disk else data
    batches = Batches(used, LinearPath(), seed=0, conditions=model().conditions)
    draw = batches.real("teacher", 0, 16)
    values = data.values[:].float() / 127.5 - 1
    rows = [int((values == x).flatten(1).all(1).nonzero()[0]) for x in draw.x_0]
    assert torch.equal(draw.condition["text"], text[rows]) and torch.equal(draw.condition["text_mask"], mask[rows])
    assert draw.condition["text"].dtype == torch.float32
    shown = batches.generated("generator", 0, 16).condition
    assert set(shown["text_mask"].sum(1).tolist()) == set(LENGTHS.tolist())
    for one, its in zip(shown["text"], shown["text_mask"], strict=True):
        assert its.sum() == LENGTHS[(text[:4] == one).flatten(1).all(1)]


def test_dropped_captions_become_the_null_of_the_data(data) -> None:
    how = {"conditions": model(data).conditions, "options": DrawOptions(label_dropout=0.5)}
    drawn = Batches(data, LinearPath(), 0, **how).real("teacher", 0, 32).condition
    whole = Batches(data, LinearPath(), 0, conditions=model().conditions).real("teacher", 0, 32).condition
    null, seen = data.nulls["text"][0, :2].float(), 0
    for i in range(32):
        kept = torch.equal(drawn["text"][i], whole["text"][i])
        assert torch.equal(drawn["text_mask"][i], whole["text_mask"][i] if kept else torch.arange(5) < 2)
        assert kept or torch.equal(drawn["text"][i, :2], null)
        seen += not kept
    assert 8 < seen < 24


def test_guidance_is_away_from_the_null_of_the_data(data) -> None:
    plain, x, t = model(data), torch.randn(4, 1, 8, 8), torch.rand(4)
    given = conditions(plain, data, 4)
    null = Condition(text=data.nulls["text"][:, :2].float().expand(4, 2, 6))
    one, other = plain(x, t, given), plain(x, t, null)
    torch.testing.assert_close(guided(plain, 3.0)(x, t, given), other + 3 * (one - other), atol=1e-5, rtol=1e-5)
    with pytest.raises(ConfigError, match="guidance = 3: the empty prompt is not known"):
        guided(model(), 3.0)


def test_from_captions_to_a_guided_student_and_back_from_its_folder(data, tmp_path) -> None:
    config = TeacherConfig(updates=2, batch=8, label_dropout=0.1, device="cpu")
    recipe = dataclasses.replace(Recipe(), network=SMALL, teacher=config)
    teacher = new_teacher(recipe, data)
    assert [spec.name for spec in teacher.conditions] == ["text"] and teacher.num_classes == 0
    teacher = train_teacher(teacher, data, config, tmp_path / "teacher")
    assert teacher.network.null is None  # it is no weight
    settings = DistillConfig(updates=2, fake_updates=1, batch=8, guidance=2.0, times=(0.9, 0.4), device="cpu")
    made = distill_teacher(teacher, data, settings, tmp_path / "student")
    student = load_generator(tmp_path / "student")
    given = conditions(made, data, 4)
    x = torch.cat(list(generate(made, 4, condition=given, seed=1)))
    assert torch.equal(x, torch.cat(list(generate(student, 4, condition=given, seed=1))))
    other = given.select(torch.tensor([1, 2, 3, 0]))
    assert not torch.allclose(x, torch.cat(list(generate(student, 4, condition=other, seed=1))), atol=1e-4)


def test_nulls_and_captions_belong_to_the_data(data) -> None:
    named = dataclasses.replace(data, captions=[f"number {i}" for i in range(32)])
    assert list(named.subset(torch.tensor([3, 1])).captions) == ["number 3", "number 1"]
    assert named.subset(slice(30, 32)).nulls is data.nulls
    with pytest.raises(DataError, match="'captioned' has 1 captions for 32 samples"):
        dataclasses.replace(data, captions=["a"])
    with pytest.raises(DataError, match="null 'pooled' of 'captioned'"):
        dataclasses.replace(data, nulls={"pooled": torch.zeros(1, 6)})
    config = TeacherConfig(updates=1, batch=8, label_dropout=0.1, device="cpu")
    with pytest.raises(ConfigError, match=r"label_dropout = 0.1: 'captioned' does not say what the empty prompt is"):
        train_teacher(model(), dataclasses.replace(data, nulls={}), config, "unused")
