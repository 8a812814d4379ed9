"""The table of interfaces: how pipelines of diffusers call their denoisers. The next one is a class and a line here."""

from __future__ import annotations

from realuid.models.networks.interfaces.base import Interface
from realuid.models.networks.interfaces.flux import Flux
from realuid.models.networks.interfaces.pixart import PixArt, Sana
from realuid.models.networks.interfaces.qwen_image import QwenImage
from realuid.models.networks.interfaces.recorded import Recorded
from realuid.models.networks.interfaces.sd3 import StableDiffusion3
from realuid.models.networks.interfaces.stable_diffusion import SDXL, StableDiffusion
from realuid.models.networks.interfaces.wan import Wan

#: Name in saved models -> interface.
INTERFACES: dict[str, Interface] = {
    "stable_diffusion": StableDiffusion(),
    "sdxl": SDXL(),
    "sd3": StableDiffusion3(),
    "flux": Flux(),
    "pixart": PixArt(),
    "sana": Sana(),
    "qwen_image": QwenImage(),
    "wan": Wan(),
    "recorded": Recorded(),
}

__all__ = ["INTERFACES", "Interface"]
