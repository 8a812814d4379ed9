import functools

import numpy as np
import pytest
import torch
from edm_oracles import edm_scales, iddpm_levels, iddpm_scales, ve_scales, vp_scales, vp_sigma

from realuid.data import load_dataset
from realuid.errors import ConfigError
from realuid.models import EDM, IDDPM, VE, VP, MatchingModel, Network, Plain, Preconditioning, Steps
from realuid.models.preconditioning import make_preconditioning, preconditioning_config
from realuid.paths import CosinePath, DDPMPath, LinearPath, TrigonometricPath, VEPath, VPPath, make_path
from realuid.recipes import PathConfig, parse_recipe
from realuid.recipes.run import new_teacher
from realuid.sampling import as_batch, heun, sample_teacher

SIGMAS = [0.002, 0.02, 0.3, 1.0, 2.5, 17.0, 80.0]
ORACLES = {EDM(): edm_scales, VP(): vp_scales, VE(): ve_scales, EDM(sigma_data=1.3): lambda s: edm_scales(s, 1.3)}
ORACLES[IDDPM()] = iddpm_scales


@pytest.mark.parametrize("preconditioning", ORACLES, ids=str)
def test_scales_on_the_ve_path_are_table_1(preconditioning):
    scales = preconditioning.scales(VEPath().coefficients(torch.tensor(SIGMAS, dtype=torch.float64)))
    for i, sigma in enumerate(SIGMAS):
        found = [part[i].item() for part in scales]
        assert found == pytest.approx(ORACLES[preconditioning](sigma), rel=1e-9, abs=1e-9)


def test_vp_time_is_accurate_in_single_precision():
    sigmas = [vp_sigma(t) for t in (1e-5, 1e-3, 0.1, 0.5, 1.0)]
    time = VP().scales(VEPath().coefficients(torch.tensor(sigmas))).time
    assert (time / 999).tolist() == pytest.approx([1e-5, 1e-3, 0.1, 0.5, 1.0], rel=1e-3)


class _Cubic(Network):
    """Some network: any function of input and time will do."""

    shape = (3,)

    def __init__(self):
        super().__init__({})

    def forward(self, x, time, condition):
        return torch.sin(3 * x) + x**2 * torch.cos(time)[:, None]


PATHS = [LinearPath(), TrigonometricPath(), VPPath(), CosinePath()]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)
@pytest.mark.parametrize("preconditioning", [EDM(), VP(), VE(), IDDPM()], ids=lambda p: p.name)
def test_the_same_network_denoises_the_same_images_on_every_path(path, preconditioning):
    """x_t / a = x_0 + sigma noise, so D(x_t; t) on any path is D(x_t / a; sigma) on the VE path."""
    t = torch.tensor([0.05, 0.3, 0.62, 0.9], dtype=torch.float64)
    x_0, x_T = torch.randn(4, 3, dtype=torch.float64), torch.randn(4, 3, dtype=torch.float64)
    x_t, k = path.sample(x_0, x_T, t)
    here = MatchingModel(_Cubic(), path, "data_prediction", preconditioning)(x_t, t)
    sigma = (k.b / k.a).flatten()
    there = MatchingModel(_Cubic(), VEPath(), "data_prediction", preconditioning)(x_0 + sigma[:, None] * x_T, sigma)
    torch.testing.assert_close(here, there, rtol=1e-10, atol=1e-10)


class _Tiny(Network):
    """A network that turns, and stays bounded as ODEs want it."""

    shape = (3,)

    def __init__(self):
        super().__init__({})

    def forward(self, x, time, condition):
        return torch.sin(3 * x.roll(1, dims=1)) + x * torch.cos(time)[:, None]


@functools.cache
def _solved(path) -> torch.Tensor:
    """x / a at noise level 0.05 of three points that start at level 20.

    By Heun's method in 500 and in 1,000 steps, whose errors are as 4 to 1 and so are removed (Richardson).
    """
    model = MatchingModel(_Tiny(), path, "data_prediction", EDM())
    y = torch.tensor([[-1.2, 0.3, 0.5], [0.9, -0.1, -1.4], [0.1, 0.7, -0.2]], dtype=torch.float64)

    def heuns(steps: int) -> torch.Tensor:
        times = path.times_at_noise_ratio(torch.from_numpy(np.geomspace(20, 0.05, steps + 1)))
        k = path.coefficients(times)
        return heun(lambda x, t: model.estimate(x, as_batch(t, x)), k.a[0] * 20 * y, times, torch.randn_like) / k.a[-1]

    return (4 * heuns(1000) - heuns(500)) / 3


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)
def test_the_same_network_makes_the_same_samples_on_every_path(path):
    """One network, many wrappers, one ODE: what EDM's makes of it, to 1e-6."""
    torch.testing.assert_close(_solved(path), _solved(VEPath()), rtol=0, atol=1e-6)
    assert _solved(VEPath()).std() > 1  # of -3.6 to 2.1: the points went their own ways


@pytest.mark.parametrize("path", [*PATHS, VEPath()], ids=lambda path: path.name)
@pytest.mark.parametrize("preconditioning", [EDM(), VP(), VE(), IDDPM()], ids=lambda p: p.name)
def test_scales_are_finite_at_the_ends(path, preconditioning):
    scales = preconditioning.scales(path.coefficients(torch.tensor([0.0, path.t_max])))
    assert all(part.isfinite().all() for part in scales)


def test_edm_returns_its_input_where_there_is_no_noise():
    x = torch.randn(2, 3)
    found = MatchingModel(_Cubic(), VEPath(), preconditioning=EDM())(x, torch.zeros(2))
    torch.testing.assert_close(found, x, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "preconditioning", [EDM(sigma_data=0.7), VP(M=500), VE(), IDDPM(M=500), EDM(sign=-1.0)], ids=lambda p: p.name
)
def test_configs_are_read_back(preconditioning):
    assert make_preconditioning(**preconditioning_config(preconditioning)) == preconditioning


def test_impossible_settings_are_refused():
    with pytest.raises(ConfigError, match="sigma_data"):
        EDM(sigma_data=0.0)
    with pytest.raises(ConfigError, match="beta_d"):
        VP(beta_d=-1.0)
    with pytest.raises(ConfigError, match="C_1"):
        IDDPM(C_1=1.5)
    with pytest.raises(ConfigError, match="sign = 0"):
        EDM(sign=0)


def test_iddpm_counts_its_levels():
    """Every noise level of the published schedule is told as its number, the least noise as 0."""
    levels = iddpm_levels()[:-1]
    assert levels[0] == pytest.approx(20291, rel=1e-3)  # the figure of the paper, Table 1
    time = IDDPM().scales(VEPath().coefficients(torch.tensor(levels, dtype=torch.float64))).time
    assert time.tolist() == list(range(999, -1, -1))


def test_networks_on_the_ve_path_see_unit_variance_unless_told_otherwise():
    """x_t itself has a standard deviation of sigma, up to 80: Plain would show a network nothing else."""
    path = VEPath(sigma_data=0.7)
    assert MatchingModel(_Cubic(), path).preconditioning == EDM(sigma_data=0.7)
    assert MatchingModel(_Cubic(), path, preconditioning=Plain()).preconditioning == Plain()
    assert MatchingModel(_Cubic(), path, "noise_prediction").preconditioning == Plain()  # EDM's output is data
    assert MatchingModel(_Cubic(), LinearPath()).preconditioning == Plain()


@pytest.mark.parametrize("prediction", ["noise_prediction", "v_prediction", "data_prediction"])
def test_networks_on_a_ddpm_grid_are_told_the_number_of_the_step(prediction):
    """Whatever they predict, in training and by every sampler: 0 to n - 1, and nothing between."""
    told = []

    class Listening(_Tiny):
        def forward(self, x, time, condition):
            told.append(time.tolist())
            return torch.zeros_like(x)

    path = DDPMPath(num_train_timesteps=100)
    model = MatchingModel(Listening(), path, prediction)
    assert model.preconditioning == Steps(time_scale=100.0)
    t = path.sample_time(torch.tensor([0.0, 0.005, 0.5, 0.999]))
    model(torch.zeros(4, 3), t)
    assert told.pop() == pytest.approx([0, 0, 50, 99], abs=1e-4)
    for sampler in ("ddim", "ancestral", "heun", "dpm_solver"):
        sample_teacher(model, torch.zeros(1, 3), 7, sampler=sampler)
    steps = sorted({round(value, 3) for (value,) in told})
    assert steps == [13, 28, 42, 56, 70, 85, 99]


@pytest.mark.parametrize("name", ["edm", "vp", "ve", "iddpm"])
def test_what_makes_data_of_one_gaussian_is_refused_elsewhere(name):
    for path in (LinearPath(), VEPath()):
        with pytest.raises(ConfigError, match="the prediction is velocity"):
            PathConfig(path.name, "velocity", preconditioning=name)
        with pytest.raises(ConfigError, match="the prediction is velocity"):
            MatchingModel(_Cubic(), path, "velocity", make_preconditioning(name))
        assert PathConfig(path.name, "data_prediction", preconditioning=name).make_preconditioning().name == name
    for path in ("brownian_bridge", "interpolant"):
        with pytest.raises(ConfigError, match=f"x_t on path '{path}' is more than that"):
            PathConfig(path, "data_prediction", preconditioning=name)


def test_what_is_asked_for_by_name_has_the_settings_of_the_path():
    def of(path: str, name: str, **settings) -> Preconditioning | None:
        return PathConfig(path, "data_prediction", settings, name).make_preconditioning()

    assert of("ve", "edm", sigma_data=0.7) == EDM(sigma_data=0.7)
    assert of("vp", "vp", beta_min=0.2, beta_d=9.0) == VP(beta_min=0.2, beta_d=9.0)
    assert of("ddpm", "steps", num_train_timesteps=100) == Steps(time_scale=100)
    with pytest.raises(ConfigError, match="path 'vp' has none"):
        of("vp", "steps")
    model = new_teacher(
        parse_recipe("base: digits-edm\npath: {settings: {sigma_data: 0.7}}", "here"), load_dataset("digits")
    )
    assert model.preconditioning == EDM(sigma_data=0.7)
    t = torch.linspace(0.01, 1, 100, dtype=torch.float64)  # a network on path ddpm is told the steps 0, ..., 99
    k = make_path("ddpm", num_train_timesteps=100).coefficients(t)
    assert of("ddpm", "steps", num_train_timesteps=100).scales(k).time.tolist() == pytest.approx(list(range(100)))
