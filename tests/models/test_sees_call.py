"""Networks that are told the call: at first those that they are made of, for every architecture."""

from __future__ import annotations

import diffusers_folders
import pytest
import students
import text_networks
import torch

from realuid.errors import ConfigError
from realuid.models import MLP, Condition, Network, OwnNetwork, VectorUNet, example
from realuid.models.networks.adapters import AdapterSettings, SharedBase
from realuid.models.networks.base import DiT
from realuid.models.networks.call import PairsWithCall, TimeWithCall, told

CALLS = 3


def vector_unet() -> VectorUNet:
    settings = students.unet().model.network.settings
    return VectorUNet(
        2, **{name: value for name, value in settings.items() if name not in ("learns_variance", "heads")}
    )


NETWORKS = {
    "mlp": lambda: MLP(2, width=16, depth=1),
    "mlp, classes": lambda: MLP(2, width=16, depth=1, num_classes=4),
    "unet": lambda: students.unet().model.network,
    "unet, classes, source": lambda: students.unet("brownian_bridge", classes=3, sees_source=True).model.network,
    "song": lambda: students.edm().model.network,
    "song, classes": lambda: students.edm(classes=4).model.network,
    "adm, classes": lambda: students.adm().model.network,
    "dit": lambda: DiT(**diffusers_folders.dit().config),
    "vector unet": vector_unet,
    "unet, classes, adapter": lambda: adapted(students.unet(classes=3).model.network),
    "song, adapter": lambda: adapted(students.edm().model.network, "affine"),
    "stable diffusion": text_networks.TextUNet,
    "sd3, adapter": lambda: adapted(text_networks.SD3()),
    "flux": text_networks.Flux,
}
#: Those that are not given pairs of a class and a call.
IN_TIME = (
    *("vector unet", "unet, classes, adapter", "song, adapter"),
    *("stable diffusion", "sd3, adapter", "flux"),
)


def adapted(network: Network, *targets: str) -> Network:
    """The network with an adapter that changes it."""
    role = SharedBase(network).role("fake", AdapterSettings(2, targets=targets), 0)
    torch.manual_seed(1)
    for parameter in role.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return role


def inputs(network: Network) -> tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
    torch.manual_seed(3)
    x, time = torch.randn(6, *network.shape), torch.linspace(0.1, 0.9, 6)
    label = {"label": torch.arange(6) % network.num_classes} if network.num_classes else {}
    others = tuple(spec for spec in network.conditions if spec.kind in ("vector", "text"))
    text = dict(example(others, 6, torch.Generator().manual_seed(3)))
    return x, time, label | text | ({"source": torch.randn_like(x)} if network.sees_source else {})


@pytest.mark.parametrize("name", NETWORKS)
def test_at_first_it_is_the_network_itself_whatever_the_call(name: str) -> None:
    torch.manual_seed(0)
    network = NETWORKS[name]().eval()
    twin = told(network, CALLS).eval()
    assert isinstance(twin, TimeWithCall if name in IN_TIME else PairsWithCall)
    x, time, given = inputs(network)
    expected = network(x, time, Condition(given))
    assert expected.abs().max() > 1e-3
    for call in range(CALLS):
        found = twin(x, time, Condition(given | {"call": torch.full((6,), call)}))
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    names = [spec.name for spec in twin.conditions]
    assert names == [*(spec.name for spec in network.conditions), "call"]
    assert twin.num_classes == network.num_classes and twin.conditions[-1].classes == CALLS


@pytest.mark.parametrize("name", ["mlp", "song, classes", *IN_TIME])
def test_every_pair_of_class_and_call_has_an_embedding_of_its_own(name: str) -> None:
    twin = told(NETWORKS[name]().eval(), CALLS).eval()
    x, time, given = inputs(twin)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    first, *others = (twin(x, time, Condition(given | {"call": torch.full((6,), call)})) for call in range(CALLS))
    assert all((first - other).flatten(1).abs().amax(1).min() > 1e-4 for other in others)
    if "label" in given:
        labels = (given["label"] + 1) % twin.num_classes
        exchanged = Condition(given | {"label": labels, "call": torch.zeros(6, dtype=torch.long)})
        assert (twin(x, time, exchanged) - first).flatten(1).abs().amax(1).min() > 1e-4


def test_other_roles_on_the_base_of_an_adapter_are_not_told() -> None:
    """Nor is the network itself, once it is called without a call: nothing of an earlier one is left."""
    base = SharedBase(students.unet().model.network.eval())
    student, fake = (base.role(name, AdapterSettings(2), 0) for name in ("student", "fake"))
    x, time, _ = inputs(fake)
    before, twin = student(x, time, Condition()), told(fake, CALLS).eval()
    torch.nn.init.normal_(twin.vectors.weight)
    assert (twin(x, time, Condition(call=torch.full((6,), 1))) - before).abs().max() > 1e-3
    assert torch.equal(student(x, time, Condition()), before)
    assert torch.equal(fake(x, time, Condition()), before)
    assert {name for name, _ in twin.named_parameters()} == {
        "vectors.weight",
        *(f"network.{name}" for name, _ in fake.named_parameters()),
    }


def test_vectors_are_added_where_the_time_is_embedded() -> None:
    """One call with the vector v is the network whose time embedding has a bias larger by v."""
    network = NETWORKS["vector unet"]().eval()
    twin, (x, time, given) = told(network, CALLS).eval(), inputs(network)
    torch.nn.init.normal_(twin.vectors.weight)
    found = twin(x, time, Condition(given | {"call": torch.full((6,), 2)}))
    with torch.no_grad():
        network.unet.time_embedding.linear_2.bias += twin.vectors.weight[2]
    torch.testing.assert_close(network(x, time, Condition(given)), found, atol=1e-5, rtol=1e-5)


def test_a_network_that_cannot_be_told_is_refused() -> None:
    with pytest.raises(ConfigError, match="a OwnNetwork has neither classes nor a `time_embedding`"):
        told(OwnNetwork(torch.nn.Identity(), (2,)), 2)
    base = SharedBase(NETWORKS["dit"]())
    with pytest.raises(ConfigError, match="a AdaptedNetwork has neither"):
        told(base.role("fake", AdapterSettings(2), 0), 2)
