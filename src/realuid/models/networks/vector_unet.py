"""diffusers' U-Net conditioned on one vector per sample, such as a pooled text embedding or a few scalars."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor, nn

from realuid.models.networks.base import UNet
from realuid.models.networks.condition import Condition
from realuid.models.networks.specs import ConditionSpec

VECTOR = "vector"


class VectorUNet(UNet):
    """A `UNet` whose time embedding is shifted by a small perceptron of the vector; it takes no class label.

    Guidance and `label_dropout` replace the vector by zeros.

    Args:
        vector: size of the vector.
        sees_source, heads: as of `UNet`.
        **unet: `UNet2DModel`'s own settings, without those of classes.
    """

    class_setting: ClassVar[str] = ""

    def __init__(self, vector: int, sees_source: bool = False, heads: int = 1, **unet: Any):
        super().__init__(sees_source, heads, **{**unet, "class_embed_type": "identity"})
        self.settings = {"vector": vector, "sees_source": sees_source, "heads": heads, **unet}
        self.size, width = vector, 4 * self.unet.config.block_out_channels[0]
        self.projection = nn.Sequential(nn.Linear(vector, width), nn.SiLU(), nn.Linear(width, width))

    @property
    def conditions(self) -> tuple[ConditionSpec, ...]:
        return (*super().conditions, ConditionSpec(VECTOR, "vector", (self.size,), null=0.0))

    def labels(self, condition: Condition) -> Tensor:
        """What diffusers adds to the time embedding in the place of a class: the projected vector, (b, width)."""
        value = self.read(condition, VECTOR)
        return self.projection(value.to(self.unet.dtype))
