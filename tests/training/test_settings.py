"""Settings by concern, and those that an older version called otherwise."""

from __future__ import annotations

import pytest
from tasks import distill_task

from realuid.cli.options import parse
from realuid.cli.train import Options
from realuid.errors import ConfigError
from realuid.recipes import Recipe, parse_recipe
from realuid.training import DistillConfig, TeacherConfig
from realuid.training.costs import update_cost
from realuid.training.settings import LoggingSettings, OptimiserSettings, SystemSettings, renamed_options


def test_each_concern_checks_its_own_values() -> None:
    for concern, values in ((OptimiserSettings, {"warmup": -1}), (SystemSettings, {"micro_batch": -1})):
        with pytest.raises(ConfigError, match="must be at least 0"):
            concern(**values)
        with pytest.raises(ConfigError, match="must be at least 0"):
            DistillConfig(**values)
    assert isinstance(TeacherConfig(), LoggingSettings)


def test_python_is_told_the_present_name_of_a_setting() -> None:
    with pytest.raises(ConfigError) as error:
        DistillConfig(recompute=True)
    assert str(error.value) == "recompute = True: this setting is called activation_checkpointing now."


def test_recipes_of_older_versions_are_read() -> None:
    recipe = parse_recipe(
        """
teacher: {decay: cosine, betas: [0.5, 0.9], recompute: null, fused: null, compile: null, shard: null}
distill: {recompute: true, fused: false}
students: {uid: {decay: cosine, compile: null}}
""",
        "old",
    )
    assert recipe.teacher == TeacherConfig(lr_decay="cosine", adam_betas=(0.5, 0.9))
    assert recipe.distill == DistillConfig(activation_checkpointing=True, fused=False)
    assert recipe.student("uid").lr_decay == "cosine"
    derived = parse_recipe("{base: cifar10-cpu, teacher: {decay: constant}}", "derived")
    assert (
        derived.teacher.lr_decay == "constant" and parse_recipe("base: cifar10-cpu", "x").teacher.lr_decay == "cosine"
    )
    with pytest.raises(ConfigError, match="decay and lr_decay are two names of one setting: pass lr_decay alone"):
        parse_recipe("teacher: {decay: cosine, lr_decay: constant}", "both")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("--recompute True", "--activation-checkpointing"),
        ("--recompute=False --batch 3", "--no-activation-checkpointing --batch 3"),
        ("--compile None --shard=True", "--shard"),
        ("--fused False", "--no-fused"),
        ("--decay cosine", "--lr-decay cosine"),
        ("--distill.betas 0.5 0.9", "--distill.adam-betas 0.5 0.9"),
        ("--compile --out shard", "--compile --out shard"),
        ("--data.decay x", "--data.decay x"),
    ],
)
def test_command_lines_of_older_versions_are_read(old: str, new: str) -> None:
    assert renamed_options(old.split()) == new.split()


def test_such_a_command_line_sets_what_it_used_to() -> None:
    recipe = Recipe()
    default = Options(recipe.data, recipe.network, recipe.path, recipe.teacher)
    words = ["--recompute", "True", "--fused", "False", "--decay=cosine", "--betas", "0.5", "0.9", "--compile", "None"]
    teacher = parse(Options, "train", words, default, "RECIPE").teacher
    expected = TeacherConfig(activation_checkpointing=True, fused=False, lr_decay="cosine", adam_betas=(0.5, 0.9))
    assert teacher == expected


def test_passes_of_an_update_by_hand() -> None:
    plain = update_cost(DistillConfig(fake_updates=5))
    assert plain.passes == 1 + 5 * 3 + (3 + 2 + 2) and (plain.fake_kept, plain.generator_kept) == (1, 3)
    real = {"alpha": 0.9, "beta": 0.9, "batch": 8, "real_share": 0.5, "fake_updates": 2}
    general = update_cost(DistillConfig(objective="general", guidance=2.0, **real))
    assert general.passes == 1 + 2 * (3 * 1.5 + 2 * 1.5) + (3 + 2 * 2 + 2)  # a guided teacher is called twice
    dmd = update_cost(DistillConfig(objective="dmd", **real))
    assert dmd.passes == 1 + 2 * 3 * 1.5 + (3 + 1 + 1) and dmd.generator_kept == 1
    judged = update_cost(DistillConfig(lambda_g=1.0, fake_updates=1))
    assert judged.passes == 2 + (3 + 2 * 1.5) + (3 + 4 + 3 + 1)


@pytest.mark.parametrize(
    ("settings", "label"),
    [
        ({"alpha": 0.92, "beta": 0.94}, "0.92, 0.94"),
        ({"objective": "dmd", "alpha": 0.9, "beta": 0.9}, "dmd 0.9, 0.9"),
        ({"objective": "general", "beta": 0.94, "gamma": 0.9}, "general 1, 0.94"),
        ({"objective": "mixture"}, "mixture, data_weight 1"),
        ({"objective": "mixture", "data_weight": 0.25}, "mixture, data_weight 0.25"),
        ({"objective": "data_forcing"}, "data_forcing, data_weight 0.5"),
    ],
)
def test_titles_name_the_game(data, settings: dict, label: str) -> None:
    assert DistillConfig(**settings).label == label
    assert distill_task(data, **settings).title == f"student ({label})"
