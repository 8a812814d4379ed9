"""Students of several calls: the rollout against closed forms of Gaussians, its gradients, saving and sampling."""

from __future__ import annotations

import json
import math

import pytest
import torch
from torch import Tensor

from realuid.errors import ConfigError, ExportError
from realuid.exports import export_student
from realuid.models import (
    Condition,
    Generator,
    MatchingModel,
    Network,
    NetworkConfig,
    Plain,
    Student,
    build_network,
    from_pretrained,
    save_pretrained,
)
from realuid.paths import make_path
from realuid.sampling import generate

TIMES = (0.9, 0.4)
MEAN, STD, BLUR, NOISE = 0.6, 0.5, 0.3, 0.5


class Posterior(Network):
    """E[x_0 | x_t] on the linear path or, given x_T = x_0 + BLUR n too, on a Brownian bridge; x_0 ~ N(MEAN, STD^2)."""

    def __init__(self, coupled: bool):
        super().__init__({})
        self.shape, self.sees_source = (1,), coupled

    def forward(self, x: Tensor, time: Tensor, condition: Condition) -> Tensor:
        t = time[:, None]
        if not self.sees_source:
            a, n = 1 - t, t
            return MEAN + a * STD**2 / (a**2 * STD**2 + n**2) * (x - a * MEAN)
        x_T, variance = condition["source"], NOISE**2 * t / (1 - t)
        precision = 1 / STD**2 + 1 / BLUR**2 + 1 / variance
        return (MEAN / STD**2 + x_T / BLUR**2 + (x - t * x_T) / (1 - t) / variance) / precision


def student(coupled: bool, renoise="fresh", noise: bool = True) -> Student:
    path = make_path("brownian_bridge", noise=NOISE) if coupled else make_path("linear")
    model = MatchingModel(Posterior(coupled), path, "data_prediction", Plain(time_scale=1.0))
    return Student(model, TIMES, noise, renoise)


def by_hand(z: float, e: float, renoise: str, x_T: float | None = None) -> float:
    """The sample of two calls in plain numbers."""

    def posterior(x: float, t: float) -> float:
        if x_T is None:
            gain = (1 - t) * STD**2 / ((1 - t) ** 2 * STD**2 + t**2)
            return MEAN + gain * (x - (1 - t) * MEAN)
        seen = [(MEAN, STD), (x_T, BLUR), ((x - t * x_T) / (1 - t), NOISE * math.sqrt(t / (1 - t)))]
        return sum(v / s**2 for v, s in seen) / sum(1 / s**2 for _, s in seen)

    def level(t: float) -> float:
        return t if x_T is None else NOISE * math.sqrt(t * (1 - t))

    first, second = TIMES
    source = 0.0 if x_T is None else x_T
    start = first * source + level(first) * z
    x_1 = posterior(start, first)
    if renoise == "deterministic":
        e = (start - (1 - first) * x_1 - first * source) / level(first)
    return posterior((1 - second) * x_1 + second * source + level(second) * e, second)


@pytest.mark.parametrize("coupled", [False, True])
@pytest.mark.parametrize("renoise", ["fresh", "deterministic"])
def test_two_calls_are_the_rollout_of_the_theory(coupled, renoise) -> None:
    model = student(coupled, renoise)
    z, e, x_T = torch.randn(3, 5, 1, dtype=torch.float64)
    found = model(z, Condition(source=x_T if coupled else None), e[:, None])
    for i in range(5):
        expected = by_hand(z[i].item(), e[i].item(), renoise, x_T[i].item() if coupled else None)
        assert found[i].item() == pytest.approx(expected, abs=1e-6)  # times are float64, path's constants too


def test_the_law_of_two_calls_on_a_gaussian() -> None:
    # x_2 is affine in (z, e): its mean and variance follow from the gains of the two posteriors
    model, zero, one = student(False), torch.zeros(1, 1, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64)

    def run(z: Tensor, e: Tensor) -> float:
        return model(z, None, e[:, None]).item()

    (t, s), gain = TIMES, {u: (1 - u) * STD**2 / ((1 - u) ** 2 * STD**2 + u**2) for u in TIMES}
    first_mean = MEAN - gain[t] * (1 - t) * MEAN  # of x_1: the start has mean 0
    mean = MEAN + gain[s] * (1 - s) * (first_mean - MEAN)
    assert run(zero, zero) == pytest.approx(mean, abs=1e-9)
    variance = (run(one, zero) - mean) ** 2 + (run(zero, one) - mean) ** 2
    expected = gain[s] ** 2 * ((1 - s) ** 2 * gain[t] ** 2 * t**2 + s**2)
    assert variance == pytest.approx(expected, abs=1e-9)


def trainable(times, path: str = "linear", **settings) -> Student:
    torch.manual_seed(0)
    network = build_network(NetworkConfig("mlp", (16,), 1), (2,))
    return Student(MatchingModel(network, make_path(path)), times, **settings)


def test_gradients_pass_through_the_last_call_only() -> None:
    model, z, e = trainable(TIMES), torch.randn(4, 2), torch.randn(4, 1, 2)
    with torch.no_grad():
        x_t = model.next_input(0, model.start(z), model.predict(0, model.start(z)), None, e[:, 0])
    model.predict(1, x_t).square().sum().backward()
    expected = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    model(z, None, e).square().sum().backward()
    for parameter, gradient in zip(model.parameters(), expected, strict=True):
        assert torch.equal(parameter.grad, gradient)
    assert torch.equal(model(z, None, e, call=0), trainable(TIMES[0])(z))  # the first call knows nothing of the second


def test_sampling_is_reproducible_and_independent_of_batches() -> None:
    model = trainable(TIMES).eval()
    whole = torch.cat(list(generate(model, 5, seed=3, batch=5)))
    assert torch.equal(whole, torch.cat(list(generate(model, 5, seed=3, batch=5))))
    torch.testing.assert_close(whole, torch.cat(list(generate(model, 5, seed=3, batch=2))))
    z = torch.randn(4, 2)
    one, other = (model.sample(z, None, torch.Generator().manual_seed(seed)) for seed in (1, 2))
    assert torch.equal(one, model.sample(z, None, torch.Generator().manual_seed(1))) and not torch.equal(one, other)
    assert model.calls == 2 and model.t_init == 0.9


def test_a_folder_holds_times_and_old_folders_load(tmp_path) -> None:
    model = trainable(TIMES, renoise="deterministic").eval()
    z = torch.randn(3, 2)
    folder = save_pretrained(model, tmp_path / "student")
    again = from_pretrained(folder)
    assert again.times == TIMES and again.renoise == "deterministic" and torch.equal(again(z), model(z))
    folder = save_pretrained(trainable(0.7), tmp_path / "old")
    config = json.loads((folder / "config.json").read_text())
    assert config.pop("times") == [0.7] and config.pop("renoise") == "fresh"
    (folder / "config.json").write_text(json.dumps({**config, "t_init": 0.7}))
    (folder / "checksums.json").unlink()
    old = from_pretrained(folder)
    assert old.times == (0.7,) and old.renoise == "fresh"


def test_what_a_student_refuses(tmp_path) -> None:
    for times, message in (
        ((0.4, 0.9), "have to decrease"),
        ((0.9, 0.9), "have to decrease"),
        ((1.5, 0.4), "outside"),
        ((), "outside"),
        ("early", "needed are a number or several"),
        (math.nan, "t_init = nan is outside"),
    ):
        with pytest.raises(ConfigError, match=message):
            trainable(times)
    with pytest.raises(ConfigError, match="needs eps"):
        trainable(TIMES)(torch.randn(2, 2))
    with pytest.raises(ConfigError, match="renoising"):
        trainable(TIMES, renoise="stale")
    with pytest.raises(ConfigError, match="mean the same"):
        trainable(0.5, t_init=0.6)
    with pytest.raises(ExportError, match=r"makes 2 calls, and the authors' scripts make one. Use another format"):
        export_student(trainable(TIMES), tmp_path / "s.pt", "authors")
    assert export_student(trainable(TIMES), tmp_path / "s.safetensors", "safetensors").difference == 0


def test_a_generator_is_a_student() -> None:
    assert Generator is Student and trainable(None, t_init=0.6).times == (0.6,)
