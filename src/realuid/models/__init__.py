"""Matching models, the students distilled from them, and their networks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from realuid.lazy import on_first_use

if TYPE_CHECKING:
    from realuid.models.calls import SIGMA_INIT
    from realuid.models.clipping import Clipping
    from realuid.models.codec import Codec
    from realuid.models.discriminator import Discriminator
    from realuid.models.guidance import Guided, guided
    from realuid.models.matching import MatchingModel, count_parameters, fingerprint, model_device
    from realuid.models.networks.adm_unet import ADMUNet
    from realuid.models.networks.architectures import NETWORKS
    from realuid.models.networks.backbones import NetworkConfig, build_network
    from realuid.models.networks.base import MLP, DiT, Network, UNet
    from realuid.models.networks.condition import Condition
    from realuid.models.networks.own import OwnNetwork
    from realuid.models.networks.song_unet import SongUNet
    from realuid.models.networks.specs import ConditionSpec, dropped, example, required, without
    from realuid.models.networks.vector_unet import VectorUNet
    from realuid.models.preconditioning import (
        EDM,
        IDDPM,
        PRECONDITIONINGS,
        VE,
        VP,
        Plain,
        Preconditioning,
        Reversed,
        Steps,
        check_preconditioning,
        make_preconditioning,
        preconditioning_on,
    )
    from realuid.models.restart import fresh
    from realuid.models.saving.folder import from_pretrained, load_single_file, save_pretrained, save_single_file
    from realuid.models.saving.weights import check_weights, load_strictly
    from realuid.models.silence import Silent, silent
    from realuid.models.sizes import resize
    from realuid.models.student import Generator, Student
    from realuid.models.teacher import Teacher

__getattr__, __dir__ = on_first_use(__name__)

__all__ = [
    "EDM",
    "IDDPM",
    "MLP",
    "NETWORKS",
    "PRECONDITIONINGS",
    "SIGMA_INIT",
    "VE",
    "VP",
    "ADMUNet",
    "Clipping",
    "Codec",
    "Condition",
    "ConditionSpec",
    "DiT",
    "Discriminator",
    "Generator",
    "Student",
    "Guided",
    "MatchingModel",
    "Network",
    "NetworkConfig",
    "OwnNetwork",
    "Plain",
    "Preconditioning",
    "Reversed",
    "Silent",
    "SongUNet",
    "Steps",
    "Teacher",
    "UNet",
    "VectorUNet",
    "build_network",
    "check_preconditioning",
    "check_weights",
    "count_parameters",
    "dropped",
    "example",
    "fingerprint",
    "fresh",
    "from_pretrained",
    "guided",
    "load_single_file",
    "load_strictly",
    "make_preconditioning",
    "model_device",
    "preconditioning_on",
    "required",
    "resize",
    "save_pretrained",
    "save_single_file",
    "silent",
    "without",
]
