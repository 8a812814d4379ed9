"""Matching models, the one-step generator and the networks inside them."""

from __future__ import annotations

from realuid.models.backbones import NetworkConfig, build_network
from realuid.models.condition import Condition
from realuid.models.generator import SIGMA_INIT, Generator
from realuid.models.matching import MatchingModel, count_parameters, model_device
from realuid.models.networks import MLP, NETWORKS, Network, UNet
from realuid.models.preconditioning import PRECONDITIONINGS, Plain, Reversed, Steps
from realuid.models.saving import check_weights, from_pretrained, load_strictly, save_pretrained

__all__ = [
    "MLP",
    "NETWORKS",
    "PRECONDITIONINGS",
    "SIGMA_INIT",
    "Condition",
    "Generator",
    "MatchingModel",
    "Network",
    "NetworkConfig",
    "Plain",
    "Reversed",
    "Steps",
    "UNet",
    "build_network",
    "check_weights",
    "count_parameters",
    "from_pretrained",
    "load_strictly",
    "model_device",
    "save_pretrained",
]
