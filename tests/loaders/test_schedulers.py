"""Schedulers of diffusers by content: a table of betas, a flow, or a refusal."""

from __future__ import annotations

import diffusers
import pytest
import torch
from diffusers_folders import relative_error

from realuid.errors import CheckpointError
from realuid.loaders.schedulers import read_scheduler

SCALED = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
TABLES = [
    *("DDPM", "DDIM", "PNDM", "DDPMParallel", "DDIMParallel", "DDIMInverse", "EulerDiscrete", "EulerAncestralDiscrete"),
    *("HeunDiscrete", "LMSDiscrete", "KDPM2Discrete", "KDPM2AncestralDiscrete", "DPMSolverMultistep", "SASolver"),
    *("DPMSolverSinglestep", "DPMSolverMultistepInverse", "DEISMultistep", "UniPCMultistep"),
]


def config_of(kind: str, **settings: object) -> dict:
    scheduler = getattr(diffusers, f"{kind}Scheduler")(**settings)
    return {"_class_name": type(scheduler).__name__, **scheduler.config}


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("kind", TABLES)
def test_a_table_of_betas_is_ddpms(kind: str, prediction: str) -> None:
    """All of them tell the same network the same steps: the data prediction is that of DDPM's own step."""
    found = read_scheduler(config_of(kind, **SCALED, prediction_type=prediction))
    table = diffusers.DDPMScheduler(**SCALED).alphas_cumprod
    k = found.path.coefficients((torch.arange(1000) + 1) / 1000)
    assert relative_error(k.a**2, table) < 1e-6 and relative_error(k.b**2, 1 - table) < 1e-6
    assert found.prediction == {"epsilon": "noise_prediction"}.get(prediction, prediction)
    assert (found.preconditioning.name, found.preconditioning.time_scale) == ("steps", 1000)
    assert found.path.beta_schedule == "scaled_linear" and found.path.alphas_cumprod is None


def test_a_table_that_the_settings_do_not_make_is_taken_as_it_is() -> None:
    scheduler = diffusers.CogVideoXDDIMScheduler(rescale_betas_zero_snr=True, prediction_type="v_prediction")
    found = read_scheduler({"_class_name": "CogVideoXDDIMScheduler", **scheduler.config})
    k = found.path.coefficients((torch.arange(999) + 1) / 1000)
    assert relative_error(k.a**2, scheduler.alphas_cumprod[:999].float()) < 1e-6
    with pytest.raises(CheckpointError, match="rescale_betas_zero_snr with prediction_type = epsilon"):
        read_scheduler(config_of("EulerDiscrete", rescale_betas_zero_snr=True))


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("FlowMatchEulerDiscrete", {"shift": 3.0}),
        ("FlowMatchHeunDiscrete", {}),
        *((kind, {"prediction_type": "flow_prediction", "use_flow_sigmas": True}) for kind in ("DPMSolverMultistep",)),
        ("UniPCMultistep", {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 5.0}),
    ],
)
def test_flows(kind: str, settings: dict) -> None:
    found = read_scheduler(config_of(kind, **settings))
    assert (found.path.name, found.prediction) == ("linear", "velocity")
    assert (found.preconditioning.name, found.preconditioning.time_scale) == ("plain", 1000)


@pytest.mark.parametrize(
    ("kind", "settings", "says"),
    [
        ("LCM", {}, "is of a consistency model"),
        ("TCD", {}, "is of a consistency model"),
        ("FlowMatchLCM", {}, "is of a consistency model"),
        (
            "EulerDiscrete",
            {"timestep_type": "continuous", "prediction_type": "v_prediction"},
            "timestep_type = continuous",
        ),
        ("CMStochasticIterative", {}, "is not supported"),
        ("ScoreSdeVe", {}, "is not supported"),
        ("DDPMWuerstchen", {}, "is not supported"),
        ("SCM", {}, "is not supported"),
        ("FlowMatchEulerDiscrete", {"invert_sigmas": True}, "invert_sigmas = True"),
    ],
)
def test_other_readings_are_refused(kind: str, settings: dict, says: str) -> None:
    with pytest.raises(CheckpointError, match=says):
        read_scheduler(config_of(kind, **settings))
