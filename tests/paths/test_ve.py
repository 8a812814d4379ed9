import math

import pytest
import torch
from edm_oracles import gaussian_ode_map, gaussian_posterior_mean, karras_grid, normal_cdf

from realuid.errors import ConfigError
from realuid.models import EDM, Generator, MatchingModel, Network
from realuid.paths import PREDICTIONS, VEPath, convert, make_path, path_from_config
from realuid.sampling import sample_teacher

SIGMAS = [0.0, 0.002, 0.03, 0.5, 1.7, 40.0, 80.0]


def test_coefficients_are_one_and_sigma():
    t = torch.tensor(SIGMAS, dtype=torch.float64)
    k = VEPath().coefficients(t)
    for value, expected in ((k.a, 1), (k.c, 0), (k.a_dot, 0), (k.b_dot, 1), (k.c_dot, 0)):
        assert value.tolist() == [expected] * len(SIGMAS)
    assert k.b.tolist() == SIGMAS


def test_derivatives_match_finite_differences():
    path, h = VEPath(), 1e-6
    t = torch.tensor([0.002, 0.3, 2.5, 79.0], dtype=torch.float64)
    low, k, high = path.coefficients(t - h), path.coefficients(t), path.coefficients(t + h)
    for name in ("a", "b", "c"):
        slope = (getattr(high, name) - getattr(low, name)) / (2 * h)
        torch.testing.assert_close(getattr(k, f"{name}_dot"), slope, rtol=0, atol=1e-7)


@pytest.mark.parametrize("steps", [1, 2, 3, 18, 40])
def test_grid_is_the_karras_grid_then_zero(steps):
    grid = VEPath().grid(steps)
    assert grid.dtype == torch.float64 and grid.shape == (steps + 1,)
    assert grid.tolist() == pytest.approx(karras_grid(steps), rel=1e-12)
    assert grid[-1] == 0


def test_grid_follows_its_settings():
    grid = VEPath(sigma_min=0.02, sigma_max=50.0, rho=3.0).grid(11)
    assert grid.tolist() == pytest.approx(karras_grid(11, 0.02, 50.0, 3.0), rel=1e-12)


def test_training_noise_has_the_stated_quantiles():
    path = VEPath(p_mean=-0.8, p_std=1.6)
    uniform = torch.tensor([0.001, 0.1, 0.5, 0.77, 0.999], dtype=torch.float64)
    sigma = path.sample_time(uniform)
    probabilities = [normal_cdf((math.log(s) + 0.8) / 1.6) for s in sigma.tolist()]
    assert probabilities == pytest.approx(uniform.tolist(), abs=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_training_noise_is_finite_at_the_ends_of_the_uniform(dtype):
    uniform = torch.tensor([0.0, 2.0**-24, 1 - 2.0**-24], dtype=dtype)
    sigma = VEPath().sample_time(uniform)
    assert sigma.isfinite().all() and (sigma > 0).all()
    assert sigma[0] < sigma[1] < sigma[2]


def test_conversions_give_the_true_predictions_and_stay_finite_at_zero_noise():
    path = VEPath()
    t = torch.tensor(SIGMAS)
    x_0, x_T = torch.randn(len(SIGMAS), 3, 5), torch.randn(len(SIGMAS), 3, 5)
    x_t, k = path.sample(x_0, x_T, t)
    truth = {"velocity": x_T, "data_prediction": x_0, "noise_prediction": x_T, "v_prediction": x_T - k.b * x_0}
    for source, value in truth.items():
        for to, expected in truth.items():
            found = convert(value, source, to, path, k, x_t)
            assert found.isfinite().all(), (source, to)
            # from data, noise is (x_t - x_0) / sigma: rounding of x_t is divided by sigma
            known = slice(1, None) if source == "data_prediction" else slice(None)
            torch.testing.assert_close(found[known], expected[known], rtol=1e-3, atol=1e-3)
    for to in set(PREDICTIONS) - {"drift"}:
        assert convert(x_0, "data_prediction", to, path, k, x_t).isfinite().all(), to


def test_limits_are_the_instances_own_and_survive_a_config():
    path = make_path("ve", sigma_min=0.02, sigma_max=50.0)
    assert (path.t_min, path.t_max) == (0.02, 50.0)
    assert (VEPath().t_min, VEPath().t_max) == (0.002, 80.0)
    assert (make_path("linear").t_min, make_path("linear").t_max) == (0.0, 1.0)
    assert path_from_config(path.to_config()) == path


@pytest.mark.parametrize(
    "settings",
    [
        {"sigma_min": 0.0},
        {"sigma_min": 3.0, "sigma_max": 2.0},
        {"sigma_max": float("inf")},
        {"rho": 0.0},
        {"p_std": -1.0},
    ],
)
def test_impossible_settings_are_refused(settings):
    with pytest.raises(ConfigError, match=next(iter(settings))):
        VEPath(**settings)


class _Posterior(Network):
    """The exact denoiser of one-dimensional Gaussian data, as the raw network inside EDM's preconditioning."""

    shape = (2,)

    def __init__(self, mean: float, std: float):
        super().__init__({})
        self.mean, self.std = mean, std
        self.scale = torch.nn.Parameter(torch.ones(()))

    def forward(self, x, time, condition):
        sigma = torch.exp(4 * time)[:, None]
        root = torch.sqrt(sigma**2 + 0.25)
        data = self.mean + self.std**2 / (self.std**2 + sigma**2) * (x * root - self.mean)
        return (data - 0.25 / root**2 * (x * root)) / (sigma * 0.5 / root) * self.scale


MEAN, STD = 0.3, 0.4


def exact_model() -> MatchingModel:
    return MatchingModel(_Posterior(MEAN, STD).double(), VEPath(), preconditioning=EDM())


def test_teacher_samples_start_at_eighty_z_and_follow_the_exact_ode():
    z = torch.tensor([[-1.5, 0.2], [0.9, 2.0]], dtype=torch.float64)
    expected = [[gaussian_ode_map(80.0 * v, 80.0, MEAN, STD) for v in row] for row in z.tolist()]
    errors = []
    for steps in (32, 64, 128):
        found = sample_teacher(exact_model(), z, steps, sampler="heun")
        errors.append((found - torch.tensor(expected)).abs().max().item())
    assert errors[-1] < 2e-3
    assert errors[0] > errors[1] > errors[2]


def test_generator_starts_at_sids_noise_level():
    generator = Generator(exact_model())
    assert generator.t_init == pytest.approx(2.5, rel=1e-12)
    z = torch.tensor([[-1.5, 0.2], [0.9, 2.0]], dtype=torch.float64)
    expected = [[gaussian_posterior_mean(2.5 * v, 2.5, MEAN, STD) for v in row] for row in z.tolist()]
    torch.testing.assert_close(generator(z), torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-6)


def test_generator_refuses_a_time_off_the_path():
    with pytest.raises(ConfigError, match="80"):
        Generator(exact_model(), 81.0)
