"""Networks of several heads survive being saved; those of a DDPM grid count steps."""

from __future__ import annotations

import pytest
import torch

from realuid.models import (
    Condition,
    MatchingModel,
    NetworkConfig,
    Steps,
    build_network,
    from_pretrained,
    save_pretrained,
)
from realuid.paths import DDPMPath, InterpolantPath


@pytest.mark.parametrize(("architecture", "shape"), [("mlp", (3,)), ("unet", (2, 8, 8))])
def test_two_heads_round_trip(tmp_path, architecture, shape):
    config = NetworkConfig(architecture=architecture, channels=(8, 8), blocks=1, attention_at=())
    network = build_network(config, shape, heads=2, sees_source=True)
    assert network.shape == shape and network.heads == 2
    model = MatchingModel(network, InterpolantPath(coupled=True), "velocity_and_noise").eval()
    save_pretrained(model, tmp_path / "model")
    back = from_pretrained(tmp_path / "model")
    assert back.path == model.path and back.prediction == "velocity_and_noise"
    x, t = torch.randn(2, *shape), torch.tensor([0.2, 0.7])
    condition = Condition(source=torch.randn(2, *shape))
    assert torch.equal(back(x, t, condition), model(x, t, condition))
    assert back(x, t, condition).shape == (2, 2 * shape[0], *shape[1:])


def test_networks_of_a_ddpm_grid_count_steps_from_zero():
    path, steps = DDPMPath(num_train_timesteps=100), Steps(time_scale=100.0)
    t = torch.tensor([0.01, 0.5, 1.0], dtype=torch.float64)
    torch.testing.assert_close(steps.scales(path.coefficients(t)).time, torch.tensor([0.0, 49.0, 99.0]).double())
