"""Values of configurations, however they come in: what is allowed passes, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from realuid.errors import ConfigError
from realuid.models import NetworkConfig
from realuid.training import DistillConfig, TeacherConfig


@pytest.mark.parametrize(
    ("kind", "settings", "says"),
    [
        (DistillConfig, {"precision": "half"}, "unknown precision 'half'. Allowed: auto, bf16, fp16, fp32."),
        (DistillConfig, {"fake_start": "zeros"}, "unknown fake_start 'zeros'. Allowed: random, teacher."),
        (NetworkConfig, {"architecture": "vit"}, "unknown architecture 'vit'. Allowed: mlp, unet."),
        (TeacherConfig, {"updates": "many"}, "updates = 'many': a str, but needed is int."),
        (TeacherConfig, {"lr": None}, "lr = None: a NoneType, but needed is float."),
        (TeacherConfig, {"batch": 2.5}, "batch = 2.5: a float, but needed is int."),
        (TeacherConfig, {"adam_betas": (0.9,)}, "adam_betas = (0.9,): a tuple, but needed is tuple[float, float]."),
        (TeacherConfig, {"adam_betas": (0.9, 1.0)}, "adam_betas = 0.9 1.0: must be at least 0 and below 1."),
        (DistillConfig, {"adam_betas": (-0.1, 0.9)}, "adam_betas = -0.1 0.9: must be at least 0 and below 1."),
        (TeacherConfig, {"lr": float("nan")}, "lr = nan is no finite number."),
        (TeacherConfig, {"lr": float("inf")}, "lr = inf is no finite number."),
        (TeacherConfig, {"seed": -1}, "seed = -1: must be at least 0."),
        (TeacherConfig, {"ema": (0.9, 1.0)}, "ema = 0.9 1.0: must be at least 0 and below 1."),
        (DistillConfig, {"quick_samples": 1}, "quick_samples = 1: must be at least 2 and at most 100000000."),
        (DistillConfig, {"real_share": 0}, "real_share = 0: must be above 0 and at most 1."),
        (NetworkConfig, {"dropout": 1.5}, "dropout = 1.5: must be at least 0 and below 1."),
        (NetworkConfig, {"head_channels": 0}, "head_channels = 0: must be at least 1."),
        (NetworkConfig, {"channels": (8, 0)}, "channels = 8 0: must be at least 1."),
        (NetworkConfig, {"channels": ()}, "channels = (): at least one level is needed."),
    ],
)
def test_illegal_values_are_named(kind: type, settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError) as error:
        kind(**settings)
    assert str(error.value) == says


def test_integers_are_numbers_lists_are_tuples_and_a_clip_may_be_infinite() -> None:
    TeacherConfig(lr=1, adam_betas=(0, 0.9), ema=[0.5], clip=float("inf"), wandb=None)
    NetworkConfig(channels=[8, 16], attention_at=[])
