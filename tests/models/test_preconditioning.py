import pytest
import torch
from edm_oracles import edm_scales, iddpm_levels, iddpm_scales, ve_scales, vp_scales, vp_sigma

from realuid.data import load_dataset
from realuid.errors import ConfigError
from realuid.models import EDM, IDDPM, VE, VP, MatchingModel, Network, Plain, Preconditioning, Steps
from realuid.models.preconditioning import make_preconditioning, preconditioning_config
from realuid.paths import LinearPath, TrigonometricPath, VEPath, make_path
from realuid.recipes import PathConfig, parse_recipe
from realuid.recipes.run import new_teacher

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


@pytest.mark.parametrize("path", [LinearPath(), TrigonometricPath()], ids=lambda path: path.name)
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


@pytest.mark.parametrize("path", [LinearPath(), TrigonometricPath(), VEPath()], ids=lambda path: path.name)
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
