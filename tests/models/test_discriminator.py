"""A head on any network's bottleneck: what it reads, what it costs, and that the model under it stays what it is."""

from __future__ import annotations

import pytest
import torch

from realuid.models import MLP, ADMUNet, Condition, Discriminator, MatchingModel, NetworkConfig, SongUNet, build_network
from realuid.models.discriminator import new_discriminator
from realuid.paths import make_path

SMALL = {"model_channels": 8, "num_blocks": 1, "attn_resolutions": (4,), "channel_mult": (1, 2), "label_dim": 3}
NETWORKS = {
    "unet": lambda: build_network(NetworkConfig(channels=(8, 16), blocks=1, attention_at=(4,)), (1, 8, 8), 3),
    "unet, odd sides": lambda: build_network(
        NetworkConfig(channels=(8, 16, 16), blocks=1, attention_at=()), (1, 28, 12), 3
    ),
    "song": lambda: SongUNet(8, 3, 3, **SMALL),
    "adm": lambda: ADMUNet(8, 3, 3, **{**SMALL, "model_channels": 64}),
    "mlp": lambda: MLP(2, 16, 3, num_classes=3),
}
#: Shape of the features the head is made for.
FEATURES = {"unet": (16, 4, 4), "unet, odd sides": (16, 7, 3), "song": (16, 4, 4), "adm": (128, 4, 4), "mlp": (16,)}


def make(name: str) -> Discriminator:
    torch.manual_seed(0)
    return new_discriminator(MatchingModel(NETWORKS[name](), make_path("linear")), seed=1).eval()


def inputs(model: MatchingModel, count: int = 4):
    random = torch.Generator().manual_seed(0)
    x, t = torch.randn(count, *model.shape, generator=random), torch.rand(count, generator=random)
    return x, t, Condition(label=torch.arange(count) % 3)


@pytest.mark.parametrize("name", NETWORKS)
def test_one_logit_a_sample_from_the_deepest_features(name: str) -> None:
    judge = make(name)
    x, t, condition = inputs(judge.model)
    seen = []
    module, shape = judge.model.network.bottleneck()
    hook = module.register_forward_hook(lambda m, i, o: seen.append(o))
    prediction = judge.model(x, t, condition)
    hook.remove()
    assert shape == FEATURES[name] == tuple(seen[0].shape[1:])
    logits = judge(x, t, condition, judge=True)
    assert logits.shape == (4,)
    torch.testing.assert_close(logits, judge.head(seen[0]).flatten(1).mean(1))
    assert torch.equal(judge(x, t, condition), prediction)  # the hook is gone, the model as before
    one = judge(x[1:2], t[1:2], Condition(label=condition["label"][1:2]), judge=True)
    torch.testing.assert_close(one, logits[1:2], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_reach_the_image_and_the_encoder_but_not_what_comes_after(name: str) -> None:
    judge = make(name).requires_grad_(True)
    x, t, condition = inputs(judge.model)
    with torch.no_grad():  # fresh networks end their branches in zeros, which would stop gradients by themselves
        for p in judge.parameters():
            p.add_(0.1 * torch.randn_like(p))
    x.requires_grad_(True)
    judge(x, t, condition, judge=True).sum().backward()
    assert x.grad.flatten(1).abs().max(dim=1).values.min() > 0
    names = dict(judge.named_parameters())
    untouched = [n for n, p in names.items() if p.grad is None]
    assert untouched and all(p.grad is not None for n, p in names.items() if n.startswith("head."))
    late = {"unet": "up_blocks", "song": "dec", "adm": "dec", "mlp": "outlet"}[name.split(",")[0]]
    assert any(late in n for n in untouched)
    assert not any(early in n for n in untouched for early in ("down_blocks", ".enc.", "inlet"))


@pytest.mark.parametrize("name", ["unet", "song", "mlp"])
def test_the_head_knows_time_and_class(name: str) -> None:
    judge = make(name)
    with torch.no_grad():
        for p in judge.parameters():
            p.add_(0.1 * torch.randn_like(p))
    x, t, condition = inputs(judge.model)
    logits = judge(x, t, condition, judge=True)
    assert (judge(x, t / 2, condition, judge=True) - logits).abs().min() > 0
    assert (judge(x, t, Condition(label=(condition["label"] + 1) % 3), judge=True) - logits).abs().min() > 0


def test_the_head_has_the_layout_of_the_authors() -> None:
    """At their size: 2x2 convolutions with stride 2 and group normalisation, twice, then a 1x1 convolution."""
    with torch.device("meta"):
        network = build_network(NetworkConfig(), (3, 32, 32))
        head = Discriminator(MatchingModel(network, make_path("linear"))).head
    shapes = {name: tuple(p.shape) for name, p in head.named_parameters()}
    block = {"weight": (256, 256, 2, 2), "bias": (256,)}
    assert shapes == {
        **{f"{i}.{k}": v for i in (0, 3) for k, v in block.items()},
        **{f"{i}.{k}": (256,) for i in (1, 4) for k in block},
        "6.weight": (1, 256, 1, 1),
        "6.bias": (1,),
    }
