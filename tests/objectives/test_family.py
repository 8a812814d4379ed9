"""Every objective against its definition in Gaussian worlds: values and both players' gradients, float64, to 1e-6.

The fake model is any affine function, not the best one, so nothing cancels. The definitions are written once more, in
numpy, as integrals over x with E[y | x] known; gradients are finite differences of those.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from definitions import Match, generator_definition
from games import GENERATED, REAL, Game
from oracles import slope
from players import grid

from realuid.objectives import DMD, DataForcing, GeneralRealUID, MixtureUID, NormalisedRealUID, RealUID
from realuid.paths import convert, target

OBJECTIVES = {
    "UID": RealUID(),
    "RealUID": RealUID(0.92, 0.94),
    "RealUID, ratio below 1": RealUID(0.92, 0.86),
    "RealSiD": RealUID(0.92, 0.94, 1.2),
    "General": GeneralRealUID(0.92, 0.94, 0.8),
    "General, alpha 1": GeneralRealUID(1.0, 0.94, 0.9),
    "General, beta delta": GeneralRealUID(0.92, 0.94, 0.8, delta_scale=0.94, alpha_sid=0.8),
    "General, beyond the paper": GeneralRealUID(2.0, 1.25, 0.6),
    "Mixture": MixtureUID(0.75, 0.4),
    "Mixture, the data alone": MixtureUID(1.0, 0.5, alpha_sid=0.8),
    "Normalised": NormalisedRealUID(0.92, 0.94),
    "Normalised without data": NormalisedRealUID(),
    "DMD": DMD(0.9, 0.9),
}
WORLDS = [
    ("linear", "velocity", False, 0.3504),
    ("linear", "data_prediction", False, 0.7004),
    ("vp", "noise_prediction", False, 0.3504),
    ("vp", "score", False, 0.3504),
    ("brownian", "data_prediction", True, 0.3504),
    ("interpolant linear sin2 coupled", "velocity_and_noise", False, 0.3504),
]


@pytest.fixture(params=WORLDS, ids=lambda w: f"{w[0]}, {w[1]}")
def world(request):
    return request.param


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_fake_model_s_value_and_gradient(name, world) -> None:
    match = Match(world, OBJECTIVES[name])
    knobs = [torch.tensor(v, requires_grad=True) for v in (match.gain, match.offset)]
    value = match.library_fake(*knobs)
    assert float(value.detach()) == pytest.approx(match.fake(match.gain, match.offset), rel=1e-6)
    for knob, gradient in zip((0, 1), torch.autograd.grad(value, knobs), strict=True):
        for i in range(len(match.gain)):

            def moved(v, knob=knob, i=i):
                both = [match.gain.copy(), match.offset.copy()]
                both[knob][i] = v
                return match.fake(*both)

            expected = slope(moved, (match.gain, match.offset)[knob][i], pinned=False)
            assert float(gradient[i]) == pytest.approx(expected, rel=1e-6, abs=1e-6)


def library_generator(match: Match):
    """The generator's loss and its gradient in (shift, stretch)."""
    knobs = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in GENERATED.values()]
    x_t, y, w = match.game.points(match.x_T, *knobs)
    f_star = x_t @ torch.from_numpy(match.teacher.gain).T + torch.from_numpy(match.teacher.offset)
    f = x_t @ torch.from_numpy(match.gain).T + torch.from_numpy(match.offset)
    loss = (w * match.o.generator(f_star, f, y, x_t)).sum()
    return float(loss.detach()), [float(g) for g in torch.autograd.grad(loss, knobs)]


@pytest.mark.parametrize("name", [name for name in OBJECTIVES if name != "DMD"])
def test_the_generator_s_value_and_gradient(name, world) -> None:
    match = Match(world, OBJECTIVES[name])

    def value(shift, stretch):
        return match.expected(
            (match.gain, match.offset),
            {"shift": shift, "stretch": stretch},
            lambda f, f_star, y: generator_definition(match.o, f, f_star, y),
        )

    shift, stretch = GENERATED.values()
    expected = [
        slope(lambda v: value(v, stretch), shift, pinned=False),
        slope(lambda v: value(shift, v), stretch, pinned=False),
    ]
    loss, gradient = library_generator(match)
    assert loss == pytest.approx(value(shift, stretch), rel=1e-6)
    np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("settings", [w for w in WORLDS if w[0] != "interpolant linear sin2 coupled" and not w[2]])
def test_dmd_follows_the_difference_of_predictions_at_x_t(settings) -> None:
    """alpha E[(f - f*)(x_t) dx_t]; with x_0 = m + shift + 0.8 stretch z all of it is moments of Gaussians."""
    match = Match(settings, DMD(0.9, 0.9))
    side, a = match.game.side(None, **GENERATED), match.game.family.abc(match.game.t)[0]
    mean, var = side.mean.item(), side.cov.item()
    gain, offset = (match.gain - match.teacher.gain).item(), (match.offset - match.teacher.offset).item()
    by_shift = 0.9 * a * (gain * mean + offset)
    by_stretch = 0.9 * (a * 0.8) ** 2 * gain * GENERATED["stretch"]
    value, gradient = library_generator(match)
    assert value == pytest.approx(0.9 * (gain * (var + mean**2) + offset * mean), rel=1e-6)
    np.testing.assert_allclose(gradient, [by_shift, by_stretch], rtol=1e-6)


@pytest.mark.parametrize("alpha", [1.0, 0.9, 0.5])
@pytest.mark.parametrize("space", ["score", "data_prediction"])
def test_dmd_at_the_best_fake_model_descends_kl(alpha: float, space: str) -> None:
    """Lemma 5: with the score of m = alpha p^g + (1 - alpha) p* it is the gradient of KL(m || p*); in the data space
    that times b^2 / a."""
    game = Game("linear", space, False, 0.3504, DMD(alpha, alpha))
    real = game.side(None, **REAL)

    def kl(shift, stretch):
        generated = game.side(None, shift, stretch)
        x, volume = grid(real, generated)
        m = alpha * generated.density(x) + (1 - alpha) * real.density(x)
        return float((m * np.log(m / real.density(x))).sum() * volume)

    shift, stretch = GENERATED.values()
    a, b, _ = game.family.abc(game.t)
    factor = 1.0 if space == "score" else b**2 / a
    expected = [
        factor * slope(lambda v: kl(v, stretch), shift, pinned=False),
        factor * slope(lambda v: kl(shift, v), stretch, pinned=False),
    ]
    np.testing.assert_allclose(game.generator_gradient(shift, stretch), expected, rtol=1e-6, atol=1e-8)


# --- special cases ---


def draw(seed: int = 0):
    random = torch.Generator().manual_seed(seed)
    return [torch.randn(5, 5, 2, dtype=torch.float64, generator=random) for _ in range(4)]


def fake_gradient(objective, on: str, f, y, f_star):
    f = f.clone().requires_grad_()
    return torch.autograd.grad(getattr(objective, on)(f, y, f_star).sum(), f)[0]


@pytest.mark.parametrize(("alpha", "beta"), [(0.92, 0.94), (0.92, 0.86), (1.0, 1.0)])
@pytest.mark.parametrize("s", [0.5, 1.0])
def test_general_with_gamma_alpha_is_realuid(alpha, beta, s) -> None:
    f_star, f, y, x_t = draw()
    general, plain = GeneralRealUID(alpha, beta, alpha, alpha_sid=s), RealUID(alpha, beta, s)
    np.testing.assert_allclose(
        general.generator(f_star, f, y, x_t), plain.generator(f_star, f, y, x_t), rtol=1e-12, atol=1e-12
    )
    for on in ("fake_on_generated", "fake_on_real"):
        np.testing.assert_allclose(
            fake_gradient(general, on, f, y, f_star), fake_gradient(plain, on, f, y, f_star), rtol=1e-11, atol=1e-11
        )


@pytest.mark.parametrize("s", [0.5, 1.0])
def test_mixture_without_data_is_uid(s) -> None:
    f_star, f, y, x_t = draw()
    mixture, uid = MixtureUID(0.0, gamma=1.0, alpha_sid=s), RealUID(alpha_sid=s)
    assert not mixture.uses_real_data and MixtureUID(0.0, gamma=0.5).uses_real_data
    np.testing.assert_allclose(
        mixture.generator(f_star, f, y, x_t), uid.generator(f_star, f, y, x_t), rtol=1e-12, atol=1e-12
    )
    for on in ("fake_on_generated", "fake_on_real"):
        np.testing.assert_allclose(
            fake_gradient(mixture, on, f, y, f_star), fake_gradient(uid, on, f, y, f_star), rtol=1e-12, atol=1e-12
        )


@pytest.mark.parametrize("data_weight", [0.0, 0.25, 0.5, 0.75, 0.9])
@pytest.mark.parametrize("s", [0.5, 1.0])
def test_mixture_is_general_with_alpha_beta_above_one_over_beta_squared(data_weight, s) -> None:
    """alpha = beta = 1 / (1 - lambda), delta = beta (f~ - f)."""
    f_star, f, y, x_t = draw()
    beta = 1 / (1 - data_weight)
    mixture = MixtureUID(data_weight, gamma=0.7, alpha_sid=s)
    general = GeneralRealUID(beta, beta, 0.7, delta_scale=beta, alpha_sid=s)
    np.testing.assert_allclose(
        mixture.generator(f_star, f, y, x_t), general.generator(f_star, f, y, x_t) / beta**2, rtol=1e-12, atol=1e-12
    )
    for on in ("fake_on_generated", "fake_on_real"):
        ours, theirs = getattr(mixture, on)(f, y, f_star), getattr(general, on)(f, y, f_star)
        np.testing.assert_allclose(ours, theirs / beta**2, rtol=1e-12, atol=1e-11)


def test_data_forcing_without_data_is_dmd() -> None:
    f_star, f, y, x_t = draw()
    forcing, dmd = DataForcing(0.0), DMD(1.0, 1.0)
    signal = forcing.teacher_signal(f_star, y, draw(1)[0], draw(1)[2])
    torch.testing.assert_close(forcing.generator(signal, f, y, x_t), dmd.generator(f_star, f, y, x_t))
    assert float((forcing.fake_on_generated(f, y) - dmd.fake_on_generated(f, y)).abs().max()) < 1e-12
    assert not forcing.uses_real_data and float(forcing.fake_on_real(f, y).abs().max()) == 0


@pytest.mark.parametrize("space", ["data_prediction", "score"])
def test_data_forcing_follows_scores_at_noised_real_data(space: str) -> None:
    """s_fake(x_t^g) - (1 - w) s*(x_t^g) - w s*(x_t^r) with one noise: as scores, and times b^2 / a as data."""
    game, w = Game("linear", "score", False, 0.3504, DMD(1.0, 1.0)), 0.3
    x_g, x_r, noise, seen = (v.flatten(1) for v in draw(3))
    t = torch.full((5,), game.t, dtype=torch.float64)
    (x_t, k), (x_t_r, _) = (game.path.sample(x, noise, t) for x in (x_g, x_r))
    scores = {"fake": torch.sin(x_t), "g": seen - x_t, "r": torch.cos(x_t_r)}
    expected = scores["fake"] - (1 - w) * scores["g"] - w * scores["r"]
    if space == "data_prediction":
        expected = expected * k.b**2 / k.a
    at = {"fake": x_t, "g": x_t, "r": x_t_r}
    values = {name: convert(v, "score", space, game.path, k, at[name]) for name, v in scores.items()}
    y_g, y_r = (target(space, game.path, k, x, noise, None) for x in (x_g, x_r))
    x_t = x_t.clone().requires_grad_()
    forcing = DataForcing(w)
    loss = forcing.generator(forcing.teacher_signal(values["g"], y_g, values["r"], y_r), values["fake"], y_g, x_t)
    np.testing.assert_allclose(torch.autograd.grad(loss.sum(), x_t)[0], expected, rtol=1e-6, atol=1e-9)


def test_general_depends_on_gamma() -> None:
    f_star, f, y, x_t = draw()
    first, second = GeneralRealUID(0.92, 0.94, 0.92), GeneralRealUID(0.92, 0.94, 0.7)
    squares = ((f_star - f) ** 2).flatten(1).sum(1)
    np.testing.assert_allclose(
        second.generator(f_star, f, y, x_t) - first.generator(f_star, f, y, x_t), 0.22 * squares, rtol=1e-9
    )
    for on, step in (("fake_on_generated", -0.22), ("fake_on_real", 0.22)):
        difference = getattr(second, on)(f, y, f_star) - getattr(first, on)(f, y, f_star)
        np.testing.assert_allclose(difference, step * squares, rtol=1e-9)


def test_the_beta_form_rescales_delta() -> None:
    """beta (f* - f) with fake model f is f* - f' with f' = f* - beta (f* - f)."""
    f_star, f, y, x_t = draw()
    scaled, plain = GeneralRealUID(0.92, 0.94, 0.8, delta_scale=0.94), GeneralRealUID(0.92, 0.94, 0.8)
    moved = f_star - 0.94 * (f_star - f)
    np.testing.assert_allclose(
        scaled.generator(f_star, f, y, x_t), plain.generator(f_star, moved, y, x_t), rtol=1e-12, atol=1e-12
    )
    for on in ("fake_on_generated", "fake_on_real"):
        np.testing.assert_allclose(
            getattr(scaled, on)(f, y, f_star), getattr(plain, on)(moved, y, f_star), rtol=1e-12, atol=1e-12
        )


def near_one(name: str, gap: float):
    """The objective with 1 - alpha = gap, 1 - beta = 2 gap (DMD: gap)."""
    return {
        "general": lambda: GeneralRealUID(1 - gap, 1 - 2 * gap, 0.9),
        "general, alpha's own": lambda: GeneralRealUID(1 - gap, 1 - 2 * gap, 1 - gap),
        "normalised": lambda: NormalisedRealUID(1 - gap, 1 - 2 * gap),
        "dmd": lambda: DMD(1 - gap, 1 - gap),
    }[name]()


@pytest.mark.parametrize("name", ["general", "general, alpha's own", "normalised", "dmd"])
def test_continuity_as_alpha_approaches_one(name: str) -> None:
    f_star, f, y, x_t = draw()
    at_one = GeneralRealUID(1.0, 1.0, 0.9) if name == "general" else near_one(name, 0.0)
    gaps = []
    for gap in (1e-2, 1e-3, 1e-4):
        near = near_one(name, gap)
        pairs = [(near.generator(f_star, f, y, x_t), at_one.generator(f_star, f, y, x_t))]
        for on in ("fake_on_generated", "fake_on_real"):
            pairs.append((getattr(near, on)(f, y, f_star), getattr(at_one, on)(f, y, f_star)))
        gaps.append([float((u - v).abs().max()) for u, v in pairs])
    np.testing.assert_allclose(np.array(gaps[:-1]) / np.array(gaps[1:]), 10, rtol=0.05)


def test_normalised_is_greatest_along_the_pull_and_blind_to_length() -> None:
    """At a point <u, v> is at most ||v||, reached where delta points along v; the length of delta does not count."""
    objective = NormalisedRealUID(0.92, 0.94)
    f_star, _, y, x_t = draw()
    v = 0.92 * f_star - 0.94 * y
    best = objective.generator(f_star, f_star - 3 * v, y, x_t)
    np.testing.assert_allclose(best, v.flatten(1).norm(dim=1), rtol=1e-12)
    np.testing.assert_allclose(objective.generator(f_star, f_star - v / 7, y, x_t), best, rtol=1e-12)
    for seed in range(1, 6):
        assert (objective.generator(f_star, draw(seed)[1], y, x_t) < best).all()


def test_losses_in_the_score_space_are_those_of_the_data_space_reweighed() -> None:
    """DMD's generator: the score is data minus x_t / a, times a / b^2; so are differences of scores."""
    game = Game("vp", "score", False, 0.3504, DMD(0.9, 0.9))
    f_star, f, y, x_t = (v.flatten(1) for v in draw())
    k = game.path.coefficients(torch.full((len(x_t),), game.t, dtype=torch.float64)).expand(x_t)
    as_scores = [convert(v, "data_prediction", "score", game.path, k, x_t) for v in (f_star, f)]
    np.testing.assert_allclose(
        DMD(0.9, 0.9).generator(*as_scores, y, x_t),
        (k.a / k.b**2)[:, 0] * DMD(0.9, 0.9).generator(f_star, f, y, x_t),
        rtol=1e-6,
    )
