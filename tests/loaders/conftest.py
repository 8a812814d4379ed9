"""torchcfm's own network, as the oracle of conversions."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from collections.abc import Callable

import pytest
import torch
from torch import nn


@pytest.fixture(scope="session")
def torchcfm_unet() -> Callable[..., nn.Module]:
    """`torchcfm_unet(dim, num_channels, num_res_blocks, ...)`: torchcfm's U-Net with every weight random.

    Only its module is imported: the package itself wants optimal transport and ODE libraries that no network needs.
    """
    spec = importlib.util.find_spec("torchcfm")
    if spec is None or spec.submodule_search_locations is None:
        pytest.skip("torchcfm is not installed: pip install --no-deps torchcfm")
    package = types.ModuleType("torchcfm")
    package.__path__ = list(spec.submodule_search_locations)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "torchcfm", package)
        wrapper = importlib.import_module("torchcfm.models.unet.unet").UNetModelWrapper

    def build(*args, **settings) -> nn.Module:
        torch.manual_seed(0)
        network = wrapper(*args, **settings).eval().requires_grad_(False)
        for parameter in network.parameters():  # layers that start at zero or one would hide mistakes
            noise = torch.randn_like(parameter) / parameter[0].numel() ** 0.5
            parameter += noise if not parameter.any() else 0.1 * noise
        return network

    return build
