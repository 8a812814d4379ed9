"""Networks that are told the call: at first those that they are made of, for every architecture with classes."""

from __future__ import annotations

import diffusers_folders
import pytest
import students
import torch

from realuid.errors import ConfigError
from realuid.models import MLP, Condition, Network, OwnNetwork, VectorUNet
from realuid.models.networks.base import DiT
from realuid.models.networks.call import SeesCall

CALLS = 3
NETWORKS = {
    "mlp": lambda: MLP(2, width=16, depth=1),
    "mlp, classes": lambda: MLP(2, width=16, depth=1, num_classes=4),
    "unet": lambda: students.unet().model.network,
    "unet, classes, source": lambda: students.unet("brownian_bridge", classes=3, sees_source=True).model.network,
    "song": lambda: students.edm().model.network,
    "song, classes": lambda: students.edm(classes=4).model.network,
    "adm, classes": lambda: students.adm().model.network,
    "dit": lambda: DiT(**diffusers_folders.dit().config),
}


def inputs(network: Network) -> tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
    torch.manual_seed(3)
    x, time = torch.randn(6, *network.shape), torch.linspace(0.1, 0.9, 6)
    label = {"label": torch.arange(6) % network.num_classes} if network.num_classes else {}
    return x, time, label | ({"source": torch.randn_like(x)} if network.sees_source else {})


@pytest.mark.parametrize("name", NETWORKS)
def test_at_first_it_is_the_network_itself_whatever_the_call(name: str) -> None:
    torch.manual_seed(0)
    network = NETWORKS[name]().eval()
    told = SeesCall(network, CALLS).eval()
    x, time, given = inputs(network)
    expected = network(x, time, Condition(given))
    assert expected.abs().max() > 1e-3
    for call in range(CALLS):
        found = told(x, time, Condition(given | {"call": torch.full((6,), call)}))
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    names = [spec.name for spec in told.conditions]
    assert sorted(names) == sorted([*(spec.name for spec in network.conditions), "call"])
    assert told.num_classes == network.num_classes and told.conditions[-1].classes == CALLS


@pytest.mark.parametrize("name", ["mlp", "song, classes"])
def test_every_pair_of_class_and_call_has_an_embedding_of_its_own(name: str) -> None:
    told = SeesCall(NETWORKS[name]().eval(), CALLS).eval()
    x, time, given = inputs(told)
    with torch.no_grad():
        for parameter in told.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    first, *others = (told(x, time, Condition(given | {"call": torch.full((6,), call)})) for call in range(CALLS))
    assert all((first - other).flatten(1).abs().amax(1).min() > 1e-4 for other in others)
    if given:
        exchanged = Condition(given | {"label": (given["label"] + 1) % 4, "call": torch.zeros(6, dtype=torch.long)})
        assert (told(x, time, exchanged) - first).flatten(1).abs().amax(1).min() > 1e-4


def test_an_architecture_without_classes_is_refused() -> None:
    settings = {
        k: v for k, v in students.unet().model.network.settings.items() if k not in ("learns_variance", "heads")
    }
    for network in (OwnNetwork(torch.nn.Identity(), (2,)), VectorUNet(2, **settings)):
        with pytest.raises(ConfigError, match="has no classes, which would tell it the call"):
            SeesCall(network, 2)
