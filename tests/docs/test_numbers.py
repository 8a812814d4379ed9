"""Numbers that documentation and help state about defaults and rules are those of the code."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
import torch
from torch import nn

from realuid.cli.sample import Options as SampleOptions
from realuid.exports.export import TOLERANCE
from realuid.models import SIGMA_INIT
from realuid.objectives import PUBLISHED_RATIO, MixtureUID, make_objective
from realuid.paths import make_path
from realuid.recipes import DataConfig, load_recipe
from realuid.recipes.sections import EvaluateConfig, SweepConfig
from realuid.recipes.sweep import _OTHERS
from realuid.training import DistillConfig, TeacherConfig
from realuid.training.config import fine_tuning
from realuid.training.distill import generator_accumulation_steps
from realuid.training.ema import EMA

ROOT = Path(__file__).parents[2]
GUIDES = "docs/guides"
HELP = "src/realuid/training/*.py"
WORDS = {"a third": 1 / 3, "a quarter": 0.25, "twice": 2, "three": 3, "fifty": 50}
NUMBER = r"([\d.]+(?:e-\d+)?|a third|a quarter|twice|three|fifty)"


def start(path: str, **settings: float) -> float:
    """Default time of a one-step student."""
    return make_path(path, **settings).start_time(SIGMA_INIT)


def four_times() -> list[float]:
    """Default times of a student of four calls on the linear path."""
    return list(make_path("linear").call_times(4, start("linear")))


def ema_constant() -> float:
    """c in the decay (1 + n) / (c + n), from what the first update does to an average of 0 and a weight of 1."""
    layer = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(layer.weight)
    ema = EMA(layer, (0.9999,))
    nn.init.ones_(layer.weight)
    ema.update()
    return 2 / (1 - float(ema.averages[0.9999][0])) - 1


def rates(name: str) -> float:
    return getattr(fine_tuning(DistillConfig()), name) / getattr(DistillConfig(), name)


def last_size_at_once() -> int:
    """Most numbers of a batch (pixels times channels) that the generator step takes in one micro-batch on CPUs."""
    cpu = torch.device("cpu")
    return max(n for n in range(30_000, 40_000) if generator_accumulation_steps(cpu, n) == 1)


def mixture() -> MixtureUID:
    objective = make_objective("mixture")
    assert isinstance(objective, MixtureUID)
    return objective


BRIDGE = start("brownian_bridge", noise=0.5)
#: File or files, text around a number <N>, and the number by the code.
STATED = [
    ("docs/theory.md", r"noise / signal = <N>", SIGMA_INIT),
    ("docs/theory.md", r"\(t = <N> on the linear one\)", start("linear")),
    ("docs/theory.md", r"t = <N> on a Brownian bridge with noise 0.5", BRIDGE),
    ("docs/theory.md", r"\(1\+n\)/\(<N>\+n\)", ema_constant()),
    (f"{GUIDES}/distilling.md", r"noise / signal = <N>", SIGMA_INIT),
    (f"{GUIDES}/distilling.md", r"t = <N> on a Brownian bridge with noise 0.5", BRIDGE),
    (f"{GUIDES}/restoring.md", r"t = <N> on a Brownian bridge with noise 0.5", BRIDGE),
    (f"{GUIDES}/distilling.md", r"`<N>, 1` \(the default\)", DistillConfig().alpha),
    (f"{GUIDES}/objectives.md", r"\(<N> lambda_g unless given\)", PUBLISHED_RATIO),
    (f"{GUIDES}/objectives.md", r"<N>% of times nearest to the data", 100 * DistillConfig().gan_window),
    (f"{GUIDES}/objectives.md", r"learning rates are <N> of the recipe's", rates("generator_lr")),
    (f"{GUIDES}/objectives.md", r"learning rates are <N> of the recipe's", rates("fake_lr")),
    (f"{GUIDES}/speed.md", r": <N> for \(0.92, 0.94\)", round(DistillConfig(alpha=0.92, beta=0.94).share, 2)),
    (f"{GUIDES}/speed.md", r"\(`--clip <N>`, the paper's", DistillConfig().clip),
    (f"{GUIDES}/sweep.md", r"after <N> of its updates \(`--patience`\)", SweepConfig().patience),
    (f"{GUIDES}/sweep.md", r"is <N> \(`--hopeless`\)", SweepConfig().hopeless),
    (f"{GUIDES}/sweep.md", r"at least <N> others", _OTHERS),
    (f"{GUIDES}/evaluating.md", r"`--samples <N> --seeds \d+` by default", EvaluateConfig().samples),
    (f"{GUIDES}/evaluating.md", r"`--samples \d+ --seeds <N>` by default", EvaluateConfig().seeds),
    (f"{GUIDES}/evaluating.md", r"`--steps <N>` of its path's own sampler", EvaluateConfig().steps),
    (f"{GUIDES}/evaluating.md", r"`--steps <N>` of its path's own sampler", SampleOptions("").steps),
    (f"{GUIDES}/export.md", r"differs by more than <N> in units", TOLERANCE),
    *((f"{GUIDES}/calls.md", rf"# 4, \((?:[\d.]+, ){{{k}}}<N>[,)]", time) for k, time in enumerate(four_times())),
    ("README.md", r"<N> calls each", load_recipe("demo").evaluate.steps),
    (f"{GUIDES}/speed.md", r"above 32,<N> numbers", last_size_at_once() % 1000),
    (HELP, r"None: where noise / signal = <N>", SIGMA_INIT),
    (HELP, r"\(<N> on a Brownian bridge with noise 0.5\)", BRIDGE),
    (HELP, r"None: alpha, in the mixture <N>\. ", mixture().gamma),
    (HELP, r"\(mixture; None: <N>\)", mixture().data_weight),
    (HELP, r"\(data_forcing; None: <N>\)", make_objective("data_forcing").data_weight),
    (HELP, r"None: <N> lambda_g", PUBLISHED_RATIO),
    ("src/realuid/models/*.py", r"by default <N>:", SIGMA_INIT),
    ("src/realuid/models/*.py", r": t = <N> on the linear path", start("linear")),
    ("src/realuid/training/ema.py", r"\(1 \+ n\) / \(<N> \+ n\)", ema_constant()),
    ("src/realuid/cli/distill.py", r"<N> of the recipe's learning rates", rates("generator_lr")),
]


@pytest.mark.parametrize(("file", "around", "expected"), STATED, ids=lambda value: str(value)[-40:])
def test_stated_numbers_are_those_of_the_code(file: str, around: str, expected: float) -> None:
    text = re.sub(r"\s+(?:#: )?", " ", " ".join(path.read_text() for path in ROOT.glob(file)))
    found = re.findall(around.replace("<N>", NUMBER), text)
    assert found, f"{file} no longer says '{around}': adapt STATED to what it says now."
    for number in found:
        decimals = len(number.partition(".")[2]) if "e" not in number else 9
        value = WORDS[number] if number in WORDS else float(number)
        assert value == pytest.approx(round(expected, decimals) if number not in WORDS else expected, rel=1e-9)


def defaults() -> dict[str, set[object]]:
    """Option names and the defaults that they have in any configuration."""
    found: dict[str, set[object]] = {}
    for config in (DistillConfig, TeacherConfig, EvaluateConfig, SweepConfig, DataConfig, SampleOptions):
        for field in dataclasses.fields(config):
            found.setdefault(field.name.replace("_", "-"), set()).add(field.default)
    return found


def called_default(text: str) -> list[tuple[str, str]]:
    """Options with values that a text calls the default: `--name value` by default, or (default), or (the default)."""
    spans = re.findall(r"`((?:--[\w.-]+ [^`]+))`(?: by default|,? \(?(?:the )?default\b)", text)
    return [pair for span in spans for pair in re.findall(r"--(?:\w+\.)?([\w-]+) ([^\s`]+)", span)]


def test_options_called_default_are_the_default() -> None:
    known = defaults()
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    pairs = [pair for page in pages if "experiments" not in page.parts for pair in called_default(page.read_text())]
    assert len(pairs) >= 3
    for name, value in pairs:
        assert value in {str(default) for default in known[name]}, f"--{name} {value} is called the default"


def test_a_wrong_default_would_be_found() -> None:
    assert called_default("`--samples 10000 --seeds 3` by default") == [("samples", "10000"), ("seeds", "3")]
    assert called_default("with `--lr-decay cosine` (the default)") == [("lr-decay", "cosine")]
    assert "cosine" not in {str(default) for default in defaults()["lr-decay"]}


def test_the_bridge_starts_where_noise_is_as_strong_as_data() -> None:
    """c(t) = s sqrt(t (1 - t)) equals a(t) = 1 - t at 1 / (1 + s^2)."""
    for noise in (0.5, 1.0, 2.0):
        assert start("brownian_bridge", noise=noise) == pytest.approx(1 / (1 + noise**2), abs=2e-4)
    t = torch.tensor([BRIDGE], dtype=torch.float64)
    assert float(0.5 * (t * (1 - t)).sqrt() / (1 - t)) == pytest.approx(1, abs=1e-3)
