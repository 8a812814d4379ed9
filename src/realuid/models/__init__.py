"""Matching models, the one-step generator and the networks inside them."""

from __future__ import annotations

from realuid.models.adm_unet import ADMUNet
from realuid.models.architectures import NETWORKS
from realuid.models.backbones import NetworkConfig, build_network
from realuid.models.condition import Condition
from realuid.models.discriminator import Discriminator
from realuid.models.generator import SIGMA_INIT, Generator
from realuid.models.matching import MatchingModel, count_parameters, model_device
from realuid.models.networks import MLP, Network, UNet
from realuid.models.preconditioning import EDM, PRECONDITIONINGS, VE, VP, Plain, Preconditioning, Reversed, Steps
from realuid.models.saving import from_pretrained, save_pretrained
from realuid.models.song_unet import SongUNet
from realuid.models.weights import check_weights, load_strictly

__all__ = [
    "EDM",
    "MLP",
    "NETWORKS",
    "PRECONDITIONINGS",
    "SIGMA_INIT",
    "VE",
    "VP",
    "ADMUNet",
    "Condition",
    "Discriminator",
    "Generator",
    "MatchingModel",
    "Network",
    "NetworkConfig",
    "Plain",
    "Preconditioning",
    "Reversed",
    "SongUNet",
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
