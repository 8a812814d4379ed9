"""How fast models sample, and what is known before features are computed."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from conftest import small_teacher

from realuid.data import load_dataset
from realuid.errors import ConfigError
from realuid.loaders.words import Words
from realuid.models import Condition, Student
from realuid.on_data import samples
from realuid.on_data.prompts import with_embeddings
from realuid.recipes import EvaluateConfig, evaluate, load_recipe
from realuid.recipes.evaluate import check_evaluation
from realuid.recipes.run import new_teacher


class Clock:
    """A clock that stands still until a model takes its time."""

    now = 0.0

    def perf_counter(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ({"slow": [9.0, 1.0], "fast": [2.0, 1.0]}, {"slow": 500 / 9, "fast": 500 / 2}),
        ({"one": [0.9, 0.5, 0.2, 0.3], "other": [0.05, 0.05, 0.01, 0.02]}, {"one": 500 / 0.3, "other": 500 / 0.02}),
    ],
    ids=["after a few seconds no second round", "without the warm-up, the median of three"],
)
def test_models_are_timed_in_turns(digits, monkeypatch, seconds, expected) -> None:
    clock, order = Clock(), []
    monkeypatch.setattr(evaluate, "time", clock)

    def takes(name: str):
        def work(*_) -> None:
            clock.now += left[name].pop(0)
            order.append(name)

        return work

    left = {name: list(values) for name, values in seconds.items()}
    models = {name: Student(small_teacher()) for name in seconds}
    for name, model in models.items():
        model.register_forward_pre_hook(takes(name))
    rates = evaluate.images_per_second(models, digits, EvaluateConfig())
    assert rates == {name: pytest.approx(rate) for name, rate in expected.items()}
    assert order == list(seconds) * (len(order) // 2)


def test_no_more_images_are_timed_than_are_evaluated(digits, monkeypatch) -> None:
    made, model = [], Student(small_teacher())
    model.register_forward_pre_hook(lambda _, given: made.append(len(given[0])))
    evaluate.images_per_second({"a": model}, digits, EvaluateConfig(samples=20))
    assert made == [20] * 4


def test_a_teacher_learns_the_empty_prompt_from_data_that_has_it() -> None:
    data = with_embeddings(load_dataset("coloured-digits").subset(slice(0, 10)), Words())
    recipe = load_recipe("text")
    small = dataclasses.replace(recipe.network, channels=(8, 8), blocks=1)
    model = new_teacher(dataclasses.replace(recipe, network=small), data)
    how = EvaluateConfig(samples=5, steps=1, guidance=2.0)
    with pytest.raises(ConfigError, match="guidance = 2: the empty prompt is not known"):
        check_evaluation(model, dataclasses.replace(data, nulls={}), how)
    check_evaluation(model, data, how)
    made = torch.cat(list(samples(model, data, 2, steps=1, guidance=2.0)))
    model.network.null = Condition(data.nulls)
    assert torch.equal(made, torch.cat(list(samples(model, data, 2, steps=1, guidance=2.0))))
