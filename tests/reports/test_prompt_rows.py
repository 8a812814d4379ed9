"""Pictures of prompts: every model with the same noise, one picture a prompt and model."""

from __future__ import annotations

import torch

from realuid.loaders.words import Words
from realuid.models import MatchingModel, NetworkConfig, build_network
from realuid.paths import LinearPath
from realuid.reports.prompts import ShownPrompts, prompt_rows


def test_models_start_from_the_same_noise_and_prompts_make_a_difference() -> None:
    torch.manual_seed(0)
    network = build_network(
        NetworkConfig(channels=(8,), blocks=1, attention_at=(4,), head_channels=4), (3, 4, 4), text=64
    )
    with torch.no_grad():
        for weight in network.parameters():
            weight.normal_(0, 0.5)
    model = MatchingModel(network, LinearPath()).eval()
    texts = [f"prompt {i}" for i in range(20)]
    shown = ShownPrompts(texts, Words().encode(texts))
    rows = prompt_rows({"teacher": model, "again": model}, shown, {"steps": 2})
    assert [row.text for row in rows] == [texts[i] for i in (0, 2, 5, 8, 10, 13, 16, 19)]
    assert all(row.pictures[0] == row.pictures[1] for row in rows)
    assert len({row.pictures[0] for row in rows}) == 8
