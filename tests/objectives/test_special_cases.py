"""What the losses reduce to, in the words of the papers they come from."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from realuid.objectives import RealUID, inner, matching_loss, squared_norm
from realuid.paths import PATHS, convert, make_path, target

B = 5


def draw(*names, seed: int = 0, shape=(B, B, 2)):
    random = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, dtype=torch.float64, generator=random) for _ in names]


def brute(u: torch.Tensor, v: torch.Tensor) -> np.ndarray:
    return np.array([np.sum(a * b) for a, b in zip(u.numpy(), v.numpy(), strict=True)])


def test_norms_are_per_sample():
    u, v = draw("u", "v")
    np.testing.assert_allclose(inner(u, v), brute(u, v))
    np.testing.assert_allclose(squared_norm(u), brute(u, u))
    np.testing.assert_allclose(matching_loss(u, v), brute(u - v, u - v))
    assert inner(u.bfloat16(), v.bfloat16()).dtype == torch.float32


@pytest.mark.parametrize(("alpha", "beta"), [(0.92, 0.94), (0.98, 0.96), (0.92, 0.86), (1.0, 1.0)])
def test_losses_are_the_ratio_form_of_the_paper(alpha, beta):
    f_star, f, y, x_t = draw("f*", "f", "y", "x_t")
    loss = RealUID(alpha, beta)
    ratio = beta / alpha * y
    np.testing.assert_allclose(loss.fake_on_generated(f, y), alpha * brute(f - ratio, f - ratio), rtol=1e-12)
    expected = alpha * (brute(f_star - ratio, f_star - ratio) - brute(f - ratio, f - ratio))
    np.testing.assert_allclose(loss.generator(f_star, f, y, x_t), expected, rtol=1e-9)
    if alpha < 1:
        ratio = (1 - beta) / (1 - alpha) * y
        np.testing.assert_allclose(loss.fake_on_real(f, y), (1 - alpha) * brute(f - ratio, f - ratio), rtol=1e-12)


def test_uid_has_no_real_term():
    f, y = draw("f", "y")
    assert not RealUID().uses_real_data and RealUID(0.98, 0.96).uses_real_data
    assert float(RealUID().fake_on_real(f, y).abs().max()) == 0


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_continuity_as_alpha_approaches_one(factor):
    """With 1 - beta = factor (1 - alpha) every loss tends to UID's, at the rate of 1 - alpha."""
    f_star, f, y, x_t = draw("f*", "f", "y", "x_t")
    uid, gaps = RealUID(), []
    for distance in (1e-3, 1e-4, 1e-5):
        near = RealUID(1 - distance, 1 - factor * distance)
        pairs = [
            (near.generator(f_star, f, y, x_t), uid.generator(f_star, f, y, x_t)),
            (near.fake_on_generated(f, y), uid.fake_on_generated(f, y)),
            (near.fake_on_real(f, y), uid.fake_on_real(f, y)),
        ]
        gaps.append([float((a - b).abs().max()) for a, b in pairs])
    np.testing.assert_allclose(np.array(gaps[:-1]) / np.array(gaps[1:]), 10, rtol=0.02)


def test_uid_is_fgm():
    """Huang et al. 2024 (flow generator matching): L1 + L2, with v the fake and u the teacher's velocity."""
    u, v, y, x_t = draw("teacher", "fake", "x_T - x_0", "x_t")
    first = brute(u - v, u - v)
    second = 2 * brute(u - v, v - y)
    np.testing.assert_allclose(RealUID().generator(u, v, y, x_t), first + second, rtol=1e-9)


@pytest.mark.parametrize("s", [0.5, 1.0, 1.2])
def test_sid_is_half_of_uid_at_one_half(s):
    """Zhou et al. 2024, eq. 23, without its weight: -s ||D* - D||^2 + <D* - D, D* - x_g>."""
    teacher, fake, x_g, x_t = draw("D*", "D", "x_g", "x_t")
    sid = -s * brute(teacher - fake, teacher - fake) + brute(teacher - fake, teacher - x_g)
    np.testing.assert_allclose(RealUID(alpha_sid=s).generator(teacher, fake, x_g, x_t), 2 * sid, rtol=1e-9)


@pytest.mark.parametrize("name", [name for name, path in PATHS.items() if not path.has_eps])
def test_uid_is_the_same_game_in_every_space_up_to_a_weight(name):
    """Predictions of one model differ by a factor k(t) once x_t is given, so UID's losses differ by k^2; with
    alpha != beta the target is rescaled, and they do not (THEORY.md, fact 5)."""
    path, (x_0, x_T, teacher, fake) = make_path(name), draw("x_0", "x_T", "f*", "f")
    t = torch.tensor([0.1, 0.3, 0.5, 0.7, 0.9], dtype=torch.float64)
    x_t, k = path.sample(x_0, x_T, t)
    factor = {  # of one unit of data: with x_t fixed, x_T = (x_t - a x_0) / b
        "data_prediction": torch.ones_like(k.t),
        "noise_prediction": -k.a / k.b,
        "velocity": k.a_dot - k.b_dot * k.a / k.b,
        "score": k.a / k.b**2,
    }

    def losses(objective, space):
        f_star, f = (convert(v, "data_prediction", space, path, k, x_t) for v in (teacher, fake))
        return objective.generator(f_star, f, target(space, path, k, x_0, x_T, None), x_t)

    for space, k_space in factor.items():
        weight = k_space.flatten() ** 2
        np.testing.assert_allclose(
            losses(RealUID(), space), weight * losses(RealUID(), "data_prediction"), rtol=1e-6, err_msg=space
        )
        if space != "data_prediction":
            real = RealUID(0.92, 0.94)
            ratio = losses(real, space) / (weight * losses(real, "data_prediction"))
            assert (ratio - 1).abs().max() > 1e-2
