"""Conditions as named tensors: the mapping, what networks declare, nulls, and what users pass."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch

from realuid.errors import ConfigError
from realuid.models import (
    MLP,
    Condition,
    ConditionSpec,
    MatchingModel,
    dropped,
    example,
    required,
    without,
)
from realuid.models.networks.specs import label_spec, source_spec
from realuid.paths import make_path

TEXT = ConditionSpec("prompt", "text", (None, 2), mask="prompt_mask", null=torch.tensor([[7.0, 8.0]]))
VECTOR = ConditionSpec("pooled", "vector", (3,), null=0.0)


def test_a_condition_is_a_mapping_that_drops_what_is_none() -> None:
    y, x = torch.tensor([1, 2]), torch.zeros(2, 3)
    condition = Condition(label=y, source=x, pooled=None)
    assert list(condition) == ["label", "source"] and len(condition) == 2
    assert condition["label"] is y and condition.get("pooled") is None
    assert not Condition() and not Condition(label=None) and Condition(label=y)
    assert list(condition.replace(label=None, pooled=x)) == ["source", "pooled"]
    assert repr(condition) == "Condition(label: (2,), source: (2, 3))"


def test_rows_are_selected_joined_moved_and_repeated() -> None:
    condition = Condition(label=torch.tensor([4, 5, 6]), source=torch.arange(6.0).reshape(3, 2))
    assert condition.select(slice(1, None))["label"].tolist() == [5, 6]
    assert condition.select(torch.tensor([2, 0]))["source"].tolist() == [[4.0, 5.0], [0.0, 1.0]]
    both = Condition.cat([condition, condition.select(slice(1))])
    assert both["label"].tolist() == [4, 5, 6, 4] and both["source"].shape == (4, 2)
    half = condition.to("cpu", torch.float16)
    assert half["source"].dtype == torch.float16 and half["label"].dtype == torch.int64
    four = condition.select(slice(1)).expand(4)
    assert four["source"].tolist() == [[0.0, 1.0]] * 4 and four["label"].tolist() == [4] * 4
    with pytest.raises(ConfigError, match="conditions of different names cannot be joined: label, source and label"):
        Condition.cat([condition, condition.replace(source=None)])


def test_texts_of_different_lengths_are_padded_behind_their_end() -> None:
    one = Condition(prompt=torch.ones(1, 3, 2), prompt_mask=torch.ones(1, 3, dtype=torch.bool))
    other = Condition(prompt=2 * torch.ones(2, 1, 2), prompt_mask=torch.ones(2, 1, dtype=torch.bool))
    both = Condition.cat([one, other])
    assert both["prompt"][:, :, 0].tolist() == [[1, 1, 1], [2, 0, 0], [2, 0, 0]]
    assert both["prompt_mask"].tolist() == [[True] * 3, [True, False, False], [True, False, False]]


def test_copies_and_pickles() -> None:
    condition = Condition(label=torch.tensor([3]))
    for again in (copy.deepcopy(condition), pickle.loads(pickle.dumps(condition))):
        assert again["label"].tolist() == [3] and again["label"] is not condition["label"]


def test_old_names() -> None:
    condition = Condition(labels=torch.tensor([3]), x_T=torch.zeros(1, 2))
    assert list(condition) == ["label", "source"]
    with pytest.raises(AttributeError, match=r"no attribute 'labels': read condition\['label'\]"):
        _ = condition.labels
    with pytest.raises(ConfigError, match="Condition takes named tensors, not a Tensor: write Condition"):
        Condition(torch.tensor([3]))
    with pytest.raises(ConfigError, match="condition 'label' is a list: a tensor is needed"):
        Condition(label=[3])


def test_what_models_declare() -> None:
    network = MLP(2, width=8, depth=1, num_classes=4, sees_source=True)
    assert network.conditions == (label_spec(4), source_spec((2,)))
    model = MatchingModel(network, make_path("brownian_bridge"), null_class=True)
    assert [spec.classes for spec in model.conditions] == [3, 0] and [s.null for s in model.conditions] == [3, None]
    blind = MatchingModel(MLP(2, width=8, depth=1), make_path("brownian_bridge"))
    assert blind.network.conditions == () and blind.conditions == (source_spec((2,)),)
    assert MatchingModel(MLP(2, width=8, depth=1), make_path("linear")).conditions == ()


def test_nulls_replace_what_can_be_dropped_and_nothing_else() -> None:
    specs = (label_spec(3, null=3), source_spec((2,)), VECTOR, TEXT)
    given = Condition(
        label=torch.tensor([0, 2]),
        source=torch.ones(2, 2),
        pooled=torch.ones(2, 3),
        prompt=torch.ones(2, 3, 2),
        prompt_mask=torch.ones(2, 3, dtype=torch.bool),
    )
    null = without(specs, given)
    assert null["label"].tolist() == [3, 3] and null["source"] is given["source"]
    assert null["pooled"].tolist() == [[0.0] * 3] * 2
    assert null["prompt"].tolist() == [[[7.0, 8.0]]] * 2 and null["prompt_mask"].tolist() == [[True]] * 2
    mixed = dropped(specs, given, torch.tensor([False, True]))
    assert mixed["label"].tolist() == [0, 3] and mixed["source"] is given["source"]
    assert mixed["pooled"].tolist() == [[1.0] * 3, [0.0] * 3]
    assert mixed["prompt"][1].tolist() == [[7.0, 8.0], [0.0, 0.0], [0.0, 0.0]]
    assert mixed["prompt_mask"].tolist() == [[True] * 3, [True, False, False]]
    with pytest.raises(ConfigError, match="the source image x_T: this condition has no null"):
        source_spec((2,)).nulls(given["source"])


def test_what_users_pass_becomes_tensors() -> None:
    specs = (label_spec(10), VECTOR)
    row = [[0.0, 1.0, 2.0]] * 2
    for label in ([3, 3], 3, np.array([3, 3]), torch.tensor([3, 3], dtype=torch.uint8)):
        given = required(specs, {"label": label, "pooled": row}, 2)
        assert given["label"].tolist() == [3, 3] and given["label"].dtype == torch.int64
        assert given["pooled"].dtype == torch.float32 and given["pooled"].tolist() == row
    text = required((TEXT,), {"prompt": torch.zeros(2, 5, 2)}, 2)
    assert text["prompt_mask"].shape == (2, 5) and bool(text["prompt_mask"].all())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "the model is conditional on 10 classes: pass labels, one per sample"),
        ({"label": [0, 10]}, "labels: class 10 does not exist, allowed are 0 to 9"),
        ({"label": [-1, 1]}, "labels: class -1 does not exist, allowed are 0 to 9"),
        ({"label": [1]}, r"labels have shape \(1,\): needed is one per sample: \(2,\)"),
        ({"label": [0.0, 1.0]}, "labels are float32: needed are int64"),
        ({"label": [True, False]}, "labels are bool: needed are int64"),
        ({"label": ["seven", "one"]}, "labels: list is no array of numbers"),
        ({"label": [0, 1], "source": torch.zeros(2, 2)}, "sources: the model reads 10 classes and"),
        (
            {"label": [0, 1], "other": torch.zeros(2)},
            r"condition\['other'\]: the model reads 10 classes and .* so this has no effect",
        ),
        (
            {"label": [0, 1], "pooled": torch.zeros(2, 4)},
            r"condition\['pooled'\] have shape \(2, 4\): needed is \(2, 3\)",
        ),
        ({"label": [0, 1], "pooled": torch.full((2, 3), torch.nan)}, r"condition\['pooled'\] hold NaN or infinite"),
        ({"label": [0, 1]}, r"the model is conditional on the vector 'pooled': pass condition\['pooled'\]"),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(values, message) -> None:
    with pytest.raises(ConfigError, match=message):
        required((label_spec(10), VECTOR), values, 2)


def test_examples_fit_what_is_declared() -> None:
    specs = (label_spec(3), source_spec((2, 4)), VECTOR, TEXT)
    random = example(specs, 50, torch.Generator().manual_seed(0))
    assert required(specs, random, 50).keys() == random.keys()
    assert random["label"].unique().tolist() == [0, 1, 2] and float(random["source"].abs().max()) == 1
    assert float(random["pooled"].abs().max()) > 1 and bool(random["prompt_mask"].all())
    zeros = example(specs, 2)
    assert all(not zeros[name].any() for name in ("label", "source", "pooled", "prompt"))
