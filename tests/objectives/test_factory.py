"""One place builds objectives: what it makes, what it refuses and what it advises against, with the reason."""

from __future__ import annotations

import pytest
import torch

from realuid.errors import ConfigError
from realuid.objectives import (
    DMD,
    OBJECTIVES,
    Adversarial,
    DataForcing,
    GeneralRealUID,
    MixtureUID,
    NormalisedRealUID,
    RealUID,
    advice,
    choose_space,
    make_objective,
)
from realuid.paths import make_path
from realuid.training import DistillConfig
from realuid.training.config import fine_tuning


def test_every_name_builds_its_objective() -> None:
    assert make_objective("realuid", alpha=0.92, beta=0.94, alpha_sid=1.0) == RealUID(0.92, 0.94, 1.0)
    assert make_objective("general", alpha=0.92, beta=0.94) == GeneralRealUID(0.92, 0.94, 0.92)
    assert make_objective("general", alpha=1.0, beta=0.94, gamma=0.9, delta="beta") == GeneralRealUID(
        1.0, 0.94, 0.9, delta_scale=0.94
    )
    assert make_objective("normalised", alpha=0.9, beta=0.94, weight="one") == NormalisedRealUID(
        0.9, 0.94, weight="one"
    )
    assert make_objective("dmd", alpha=0.9, beta=0.9, normalise=True) == DMD(0.9, 0.9, normalise=True)
    assert make_objective("mixture") == MixtureUID(1.0, 0.5)
    assert make_objective("mixture", data_weight=0.25, gamma=0.8, alpha_sid=1.0) == MixtureUID(0.25, 0.8, 1.0)
    assert make_objective("data_forcing") == DataForcing(0.5)
    assert make_objective("data_forcing", data_weight=0.25, normalise=True) == DataForcing(0.25, normalise=True)
    assert set(OBJECTIVES) == {"realuid", "mixture", "general", "normalised", "dmd", "data_forcing"}


REFUSED = [
    ({"alpha": 0.0}, r"alpha = 0.0 is outside \(0, 1\]"),
    ({"alpha": 1.1}, r"alpha = 1.1 is outside"),
    ({"beta": -1}, r"beta = -1 is outside"),
    ({"alpha": 1.0, "beta": 0.9}, "divides by 1 - alpha"),
    ({"alpha_sid": 0.4}, r"outside \[0.5, 1.2\]"),
    ({"alpha_sid": 1.3}, r"outside \[0.5, 1.2\]"),
    ({"objective": "realuidd"}, "Did you mean 'realuid'"),
    ({"objective": "general", "alpha": 0.9, "beta": 0.94, "gamma": 1.0}, "nothing would hold the fake model back"),
    ({"objective": "general", "alpha": 0.9, "beta": 0.94, "gamma": 1.2}, r"gamma = 1.2 is outside \(0, 1\]"),
    ({"objective": "general", "delta": "gamma"}, "unknown delta 'gamma'"),
    ({"objective": "dmd", "alpha": 0.9, "beta": 0.94}, "needs alpha = beta"),
    (
        {"objective": "dmd", "alpha_sid": 1.0},
        "alpha_sid = 1.0: objective 'dmd' does not use it.* realuid, mixture, general",
    ),
    ({"gamma": 0.9}, "gamma = 0.9: objective 'realuid' does not use it. Used by: mixture, general"),
    ({"objective": "mixture", "alpha": 0.96}, "alpha = 0.96: objective 'mixture' does not use it.* Leave alpha at 1."),
    ({"objective": "mixture", "data_weight": 1.5}, r"data_weight = 1.5 is outside \[0, 1\]"),
    ({"objective": "mixture", "gamma": 1.0}, "gamma = 1 with data_weight = 1.0: on real data nothing would hold"),
    ({"objective": "mixture", "gamma": 0.0}, r"gamma = 0.0 is outside \(0, 1\]"),
    ({"objective": "mixture", "data_weight_warmup": 1.5}, "data_weight_warmup = 1.5: must be at least 0 and at most 1"),
    ({"data_weight": 0.5}, "data_weight = 0.5: objective 'realuid' does not use it. .* mixture, data_forcing"),
    ({"data_weight_warmup": 0.5}, "data_weight_warmup = 0.5: objective 'realuid' does not use it. .* mixture"),
    ({"objective": "general", "guide_real": False}, "guide_real = False: .*'general' does not use it.* mixture"),
    ({"objective": "data_forcing", "gamma": 0.5}, "gamma = 0.5: objective 'data_forcing' does not use it"),
    ({"objective": "general", "alpha": 2.0, "beta": 2.0}, "gamma = 2.0 .* with alpha above 1 pass gamma = 0.5"),
    ({"objective": "general", "alpha": float("inf"), "gamma": 0.5}, "alpha = inf is no finite number"),
    ({"objective": "general", "beta": -1.0, "gamma": 0.5}, "beta = -1.0: .* needs a positive number"),
    ({"objective": "normalised", "delta": "beta"}, "delta = beta: objective 'normalised' does not use it"),
    ({"weight": "snr"}, "unknown weight 'snr'. Did you mean 'min_snr'"),
    ({"lambda_g": -1.0}, "lambda_g = -1.0: .* must be positive"),
    ({"lambda_d": 3.0}, "lambda_g = 0.0: .* must be positive"),
    ({"lambda_g": 1.0, "gan_window": 0.0}, r"gan_window = 0.0 is outside \(0, 1\]"),
    ({"gan_share": 0.0}, r"gan_share = 0.0: must be above 0 and at most 1"),
]


@pytest.mark.parametrize(("settings", "message"), REFUSED, ids=lambda v: str(v)[:50])
def test_illegal_settings_are_refused_by_the_configuration(settings, message) -> None:
    with pytest.raises(ConfigError, match=message):
        DistillConfig(**settings)


@pytest.mark.parametrize(
    ("objective", "fine", "message"),
    [
        (RealUID(0.9, 0.9), False, "adds nothing"),
        (GeneralRealUID(0.9, 0.9, 0.8), False, "adds nothing"),
        (DMD(0.9, 0.9), False, None),
        (RealUID(0.98, 0.96, 1.0), False, "destabilise"),
        (RealUID(0.98, 0.96), False, None),
        (RealUID(1.0, 1.0, 1.2), False, None),
        (RealUID(1.0, 1.0, 1.2), True, None),
        (RealUID(0.8, 0.94), False, "every published setting"),
        (RealUID(0.92, 0.94), True, "did not converge"),
        (RealUID(0.92, 0.86), True, None),
        (GeneralRealUID(2.0, 2.0, 0.5), False, "the mixture 0.5 teacher + 0.5 data"),
        (GeneralRealUID(1.25, 2.0, 0.5), False, "divided by beta"),
        (MixtureUID(), False, None),
        (MixtureUID(1.0, 0.5, 1.0), False, "destabilise"),
        (DataForcing(), False, None),
    ],
)
def test_unwise_coefficients_come_with_advice(objective, fine, message) -> None:
    sentences = advice(objective, fine_tuning=fine)
    assert len(sentences) == (message is not None)
    assert message is None or message in sentences[0]


def test_the_space_is_the_objective_s_or_the_path_s() -> None:
    linear, dmd = make_path("linear"), DMD(0.9, 0.9)
    assert choose_space(RealUID(), linear) == "velocity"
    assert choose_space(RealUID(), linear, "data_prediction") == "data_prediction"
    assert choose_space(dmd, linear) == "data_prediction" == choose_space(dmd, make_path("ve"))
    assert choose_space(dmd, linear, "score") == "score"
    interpolant, both = make_path("interpolant"), "velocity_and_noise"
    assert choose_space(RealUID(), interpolant, usual=both) == both
    assert choose_space(RealUID(), interpolant, "velocity", both) == "velocity"
    assert choose_space(dmd, interpolant, usual=both) == "data_prediction"
    with pytest.raises(ConfigError, match="min_snr weighs one prediction, and velocity_and_noise is two"):
        choose_space(RealUID(weight="min_snr"), interpolant, usual=both)
    with pytest.raises(ConfigError, match="DMD is defined in data_prediction or score only"):
        choose_space(dmd, linear, "velocity")


@pytest.mark.parametrize("name", ["brownian_bridge", "interpolant"])
def test_data_forcing_is_refused_where_the_noise_is_no_end_of_the_path(name) -> None:
    assert choose_space(DataForcing(), make_path("linear")) == "data_prediction"
    assert choose_space(MixtureUID(), make_path(name)) == make_path(name).default_prediction
    with pytest.raises(ConfigError, match="DataForcing is defined for paths from data to noise"):
        choose_space(DataForcing(), make_path(name))


def test_the_data_weight_rises_over_its_share_of_the_run() -> None:
    config = DistillConfig(objective="mixture", data_weight=0.8, data_weight_warmup=0.5, updates=100, batch=64)
    weights = [config.objective_at(u).data_weight for u in (0, 10, 25, 50, 99)]  # type: ignore[attr-defined]
    assert weights == pytest.approx([0.0, 0.16, 0.4, 0.8, 0.8])
    assert DistillConfig(objective="mixture").objective_at(0) == MixtureUID(1.0, 0.5)
    assert DistillConfig().objective_at(3) == RealUID()
    assert 50 < config.real_batch <= 64  # Neyman: about as many real images as generated ones


def test_weights_over_time() -> None:
    t = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    linear, ve = make_path("linear"), make_path("ve")
    assert RealUID(weight="one").time_weight(ve, t, "data_prediction").tolist() == [1, 1, 1]
    for space in ("data_prediction", "noise_prediction"):
        assert RealUID().time_weight(ve, t, space).tolist() == ve.weight(t, space).tolist() != [1, 1, 1]
    min_snr = RealUID(weight="min_snr")
    expected = [5.0, 1.0, (0.1 / 0.9) ** 2]  # ((1 - t) / t)^2, at most 5
    assert min_snr.time_weight(linear, t, "data_prediction").tolist() == pytest.approx(expected)
    expected = [0.05, 0.25, 0.01]  # times t^2: a velocity is (x_t - x_0) / t
    assert min_snr.time_weight(linear, t, "velocity").tolist() == pytest.approx(expected)


def test_min_snr_is_hang_et_al_in_their_three_spaces() -> None:
    """min(SNR, 5), / SNR for noise, / (SNR + 1) for v (2023, sec. 3.4)."""
    vp, t = make_path("vp"), torch.tensor([0.05, 0.3, 0.8], dtype=torch.float64)
    k = vp.coefficients(t)
    snr = k.a**2 / k.b**2
    assert snr[0] > 5 > snr[1]
    divided = {"data_prediction": 1, "noise_prediction": snr, "v_prediction": snr + 1}
    for space, by in divided.items():
        found = RealUID(weight="min_snr").time_weight(vp, t, space)
        assert found.tolist() == pytest.approx((snr.clamp(max=5) / by).tolist(), rel=1e-9), space


def test_normalisation_is_that_of_sid() -> None:
    """1 / mean |x_0^g - D*(x_t)| of every sample, without a graph."""
    teacher = torch.tensor([[1.0, 2.0], [0.0, 0.0]], requires_grad=True)
    target = torch.tensor([[0.0, 4.0], [0.0, 0.0]], requires_grad=True)
    weight = RealUID(normalise=True).sample_weight(teacher, target)
    assert weight[0] == pytest.approx(1 / 1.5) and weight[1].isfinite() and not weight.requires_grad
    assert RealUID().sample_weight(teacher, target).tolist() == [1, 1]


def test_the_adversarial_losses() -> None:
    losses, logits = Adversarial(2.0, 6.0), torch.tensor([-1.0, 0.0, 3.0], dtype=torch.float64)
    p = 1 / (1 + torch.exp(-logits))  # the probability that a sample is real
    for value, expected in (
        (losses.generator(logits), -2 * p.log()),
        (losses.discriminator_on_real(logits), -6 * p.log()),
        (losses.discriminator_on_generated(logits), -6 * (1 - p).log()),
    ):
        torch.testing.assert_close(value.double(), expected, rtol=1e-6, atol=1e-6)
    assert DistillConfig().make_adversarial() is None and DistillConfig().gan_batch == 0
    config = DistillConfig(lambda_g=5.0, batch=8, gan_share=0.5)
    assert config.make_adversarial() == Adversarial(5.0, 15.0, 0.2) and config.gan_batch == 4


def test_fine_tuning_settings() -> None:
    config = fine_tuning(DistillConfig(warmup=500, generator_lr=3e-5, fake_lr=6e-5), alpha=0.92, beta=0.86)
    assert (config.fake_start, config.warmup, config.alpha, config.beta) == ("teacher", 0, 0.92, 0.86)
    assert (config.generator_lr, config.fake_lr) == pytest.approx((1e-5, 2e-5))
    assert fine_tuning(DistillConfig(), generator_lr=5e-6).generator_lr == 5e-6
