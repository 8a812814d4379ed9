"""Evaluation by prompts: which prompts are read, and what is measured on images known to be right or wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from realuid.data import load_dataset, to_float
from realuid.data.coloured_digits import colour, combination
from realuid.data.sources import load_digits
from realuid.errors import ConfigError
from realuid.loaders.words import Words
from realuid.metrics.joint import JointSpace
from realuid.models import MatchingModel
from realuid.models.networks.specs import text_spec
from realuid.models.prompts import TEXT_MASK
from realuid.on_data.prompts import with_embeddings
from realuid.recipes import EvaluateConfig, load_recipe, prompts
from realuid.recipes.prompts import Prompts, evaluate_prompts, prompts_from
from realuid.recipes.run import new_teacher


class Reader:
    """What evaluation asks a model, here replaced by pictures drawn from prompts: what it reads of them."""

    conditions = (text_spec((None, 64), TEXT_MASK),)


class Same(JointSpace):
    """All images and captions are one vector."""

    def images(self, x: Tensor) -> Tensor:
        return torch.ones(len(x), 1)

    def captions(self, captions: Any) -> Tensor:
        return torch.ones(len(captions), 1)


def drawn(texts: list[str], swapped: bool = False) -> Tensor:
    """Images of captions, of the first digit of each class; `swapped`: with ink and ground exchanged."""
    digits = load_digits()
    assert digits.labels is not None and isinstance(digits.values, Tensor)
    numbers = torch.tensor([combination(text) for text in texts])
    first = torch.tensor([int((digits.labels == d).nonzero()[3]) for d in numbers[:, 0]])
    ink, ground = (numbers[:, 2], numbers[:, 1]) if swapped else (numbers[:, 1], numbers[:, 2])
    return colour(digits.values[first], ink, ground)


@pytest.mark.slow
def test_digits_and_colours_are_compared_with_the_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    """A student whose first call exchanges the colours, and whose second call is right."""
    data = load_dataset("coloured-digits")
    texts = ["a red seven on blue", "a green zero on purple", "a cyan four on yellow"]
    asked = [text for text in texts for _ in range(2)]

    def calls(*_: Any, **__: Any) -> Iterator[list[Tensor]]:
        for part in (slice(0, 4), slice(4, 6)):
            yield [to_float(drawn(asked[part], swapped=True)), to_float(drawn(asked[part]))]

    monkeypatch.setattr(prompts, "generate_each_call", calls)
    found = evaluate_prompts(
        cast(MatchingModel, Reader), data, Prompts(texts, Words(), Same()), EvaluateConfig(per_prompt=2)
    )
    assert found["colours"] == 1.0 and found["digit"] == 1.0 and found["diversity"] == 0.0
    assert [entry["colours"] for entry in found["by_calls"]] == [0.0, 1.0]


def test_prompts_are_lines_of_a_file_or_captions(tmp_path: Path) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text("a cat\n\n a dog \na cat\n")
    assert prompts_from(str(file)) == ["a cat", "a dog"]
    assert len(prompts_from("coloured-digits:held-out")) == 60
    file.write_text("a cat\n")
    with pytest.raises(ConfigError, match="1 prompts, but at least two are needed"):
        prompts_from(str(file))
    with pytest.raises(ConfigError, match="0 prompts"):
        prompts_from("digits")


def test_a_teacher_of_captions_says_how_prompts_are_read() -> None:
    recipe = load_recipe("text")
    model = new_teacher(recipe, with_embeddings(load_dataset("coloured-digits").subset(slice(0, 10)), Words()))
    assert model.prompts == "words" and [spec.name for spec in model.conditions] == ["text"]
