"""The paper's runs by name: settings as published, and the reported FIDs beside them (THEORY, section 3)."""

from __future__ import annotations

import pytest

from realuid.models import NetworkConfig
from realuid.recipes import dump_recipe, load_recipe, parse_recipe, recipe_names
from realuid.recipes.config import Origin

#: (alpha, beta) from scratch, of the fine-tuned student, generator updates, batch, learning rate; FIDs.
PAPER = {
    "cifar10": ((0.92, 0.94), (0.92, 0.86), 83333, 256, 3e-5, (3.57, 2.58, 2.29, 2.23, 1.98)),
    "cifar10-cond": ((0.98, 0.96), (0.96, 0.92), 83333, 256, 3e-5, (5.56, 2.21, 2.12, 2.02, 1.87)),
    "celeba64": ((0.88, 0.90), None, 133333, 64, 5e-6, (2.46, 0.96, 0.87, 0.89)),
}


@pytest.mark.parametrize("name", PAPER)
def test_settings_are_the_published_ones(name: str) -> None:
    recipe = load_recipe(name)
    scratch, fine, updates, batch, lr, fids = PAPER[name]
    students = {n: recipe.student(n) for n in recipe.students}
    assert list(students) == ["uid", "gan", "realuid", *(["finetune"] if fine else [])]
    for config in students.values():
        assert (config.batch, config.clip, config.adam_betas, config.fake_updates) == (batch, 1.0, (0.0, 0.999), 5)
        assert config.t_init == 1.0 and config.ema == (0.999, 0.9996, 0.9999) and config.real_share == 1.0
    for n in ("uid", "gan", "realuid"):
        c = students[n]
        assert (c.updates, c.warmup, c.generator_lr, c.fake_lr, c.fake_start) == (updates, 500, lr, lr, "random")
        assert (c.alpha, c.beta) == (scratch if n == "realuid" else (1.0, 1.0))
        assert bool(c.make_adversarial()) == (n == "gan")
    assert students["gan"].lambda_d == 3 * students["gan"].lambda_g and students["gan"].gan_window == 0.2
    if fine:
        c = students["finetune"]
        assert (c.alpha, c.beta, c.fake_start, c.warmup) == (*fine, "teacher", 0)
        assert (c.generator_lr, c.fake_lr, c.updates) == (1e-5, 1e-5, 16666)
        assert recipe.origin("finetune") == Origin("realuid", 0.9999 if name == "cifar10-cond" else 0.999)
    published = [recipe.published[n] for n in ("teacher", *students)]
    assert tuple(published) == fids and recipe.published["distill"] == recipe.published["realuid"]
    assert len(recipe.published) == len(fids) + 1


@pytest.mark.parametrize("name", PAPER)
def test_teachers_are_the_published_ones(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.network == NetworkConfig(dropout=0.1)  # 128 channels, 1-2-2-2, attention at 16x16
    t = recipe.teacher
    assert (t.updates, t.batch, t.warmup, t.adam_betas, t.flip) == (400_000, 256, 5000, (0.9, 0.999), True)
    assert t.lr == (4e-5 if name == "celeba64" else 2e-4)
    assert recipe.data.conditional == (name == "cifar10-cond") and recipe.path.name == "linear"
    e = recipe.evaluate
    assert (e.extractor, e.samples, e.seeds, e.steps, e.sampler) == ("inception", 50_000, 3, 100, "euler")


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_is_whole_and_reads_back_what_it_writes(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name and recipe.description
    assert parse_recipe(dump_recipe(recipe), name) == recipe
    assert set(recipe.published) <= {"teacher", "distill", *recipe.students}
