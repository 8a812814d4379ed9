"""x_t has the moments that the textbook says, and is the sum that it claims to be."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from oracles import FAMILIES, world

from realuid.paths import make_path

COUNT = 2**17


@pytest.mark.parametrize("name", FAMILIES)
def test_moments_of_x_t(name):
    family = FAMILIES[name]
    path, w, random = make_path(family.path, **family.settings), world(family.coupled, d=2), np.random.default_rng(0)
    # exact moments instead of sampled ones: whiten the draws, then give them the world's mean and covariance
    raw = random.standard_normal((COUNT, 6))
    raw -= raw.mean(0)
    raw = raw @ np.linalg.inv(np.linalg.cholesky(raw.T @ raw / COUNT)).T
    u = torch.from_numpy(raw @ np.linalg.cholesky(w.cov).T + w.mean)
    x_0, x_T, eps = u.split(2, dim=1)
    for t in family.times:
        x_t, _ = path.sample(x_0, x_T, torch.full((COUNT,), t, dtype=torch.float64), eps if path.has_eps else None)
        mean, cov = w.moments(family.abc(t))
        np.testing.assert_allclose(x_t.mean(0), mean, rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(np.cov(x_t.numpy().T, bias=True), cov, rtol=1e-6, atol=1e-8)


def test_third_gaussian_is_asked_for():
    path, x, t = make_path("brownian_bridge"), torch.zeros(2, 3), torch.tensor([0.1, 0.2])
    with pytest.raises(ValueError, match="eps is needed"):
        path.sample(x, x, t)
