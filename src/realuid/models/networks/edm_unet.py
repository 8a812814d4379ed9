"""The encoder and decoder that EDM's networks share."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, get_args, get_origin, get_type_hints

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from realuid.errors import ConfigError
from realuid.models.networks.base import Network
from realuid.models.networks.condition import Condition
from realuid.models.networks.edm_blocks import Change, Conv, UNetBlock


@dataclass(frozen=True)
class EDMSettings:
    """Settings of EDM's networks, by the names that its pickles store.

    Attributes:
        img_resolution: height and width of the images.
        in_channels, out_channels: of the images; twice as many out as in: iDDPM's learned variance, which is left out.
        label_dim: number of classes, 0 for none.
        augment_dim: size of EDM's augmentation label, 0 for none. It is zero here: no augmentation.
        model_channels: channels of the first convolution.
        channel_mult: channels of each level, in units of model_channels, finest level first.
        channel_mult_emb: channels of the embedding, in units of model_channels.
        num_blocks: encoder blocks a level.
        attn_resolutions: sides of the levels with self-attention.
        dropout: in the residual blocks.
        label_dropout: fraction of labels replaced by zeros while training.

    Raises:
        ConfigError: for a value of another type, which a file may hold.
    """

    img_resolution: int
    in_channels: int
    out_channels: int
    label_dim: int = 0
    augment_dim: int = 0
    model_channels: int = 128
    channel_mult: Sequence[int] = (1, 2, 2, 2)
    channel_mult_emb: int = 4
    num_blocks: int = 4
    attn_resolutions: Sequence[int] = (16,)
    dropout: float = 0.1
    label_dropout: float = 0.0

    def __post_init__(self) -> None:
        for name, hint in get_type_hints(type(self)).items():
            value, origin, parts = getattr(self, name), get_origin(hint), get_args(hint)
            if origin is Literal:
                fits, needed = isinstance(value, str) and value in parts, " or ".join(parts)
            elif origin is Sequence:
                fits = isinstance(value, list | tuple) and all(_is_number(item, parts[0]) for item in value)
                needed = f"a list of {parts[0].__name__}"
            else:
                fits, needed = _is_number(value, hint), hint.__name__
            if not fits:
                shown = repr(value[:100]) if isinstance(value, str) else f"a {type(value).__name__}"
                raise ConfigError(f"{name} is {shown}, but needed is {needed}.")

    @property
    def widths(self) -> list[int]:
        """Channels of each level, finest first."""
        return [self.model_channels * m for m in self.channel_mult]


def _is_number(value: Any, kind: type) -> bool:
    return type(value) is int or (kind is float and type(value) is float)


class MakeBlock(Protocol):
    """How an architecture makes one of its blocks."""

    def __call__(
        self, in_channels: int, out_channels: int, *, attention: bool = False, change: Change | None = None
    ) -> UNetBlock: ...


class EDMUNet(Network):
    """A U-Net whose levels are called by their side, '32x32', '16x16', ..., as in EDM's pickles.

    Level by level: a change of resolution, then blocks; the output of every encoder block is joined to the input of its
    mirror in the decoder. A subclass says how time and labels are embedded and how images enter and leave.

    Raises:
        ConfigError: for sizes that do not fit.
    """

    class_setting: ClassVar[str] = "label_dim"
    #: The last layer of the time's embedding.
    map_layer1: nn.Linear

    def __init__(self, settings: EDMSettings):
        super().__init__(dataclasses.asdict(settings))
        self.in_channels, channels, side = settings.in_channels, settings.out_channels, settings.img_resolution
        if channels == 2 * self.in_channels:
            channels = self.in_channels
        self.shape = (channels, side, side)
        self.num_classes, self.label_dropout = settings.label_dim, settings.label_dropout

    def add_levels(
        self,
        widths: Sequence[int],
        first_width: int,
        num_blocks: int,
        make_block: MakeBlock,
        *,
        encoder_attends: Collection[int],
        decoder_attends: Collection[int],
    ) -> None:
        """Make `enc` and `dec`.

        Args:
            widths: channels of each level, finest first.
            first_width: channels of the first convolution.
            num_blocks: encoder blocks a level; the decoder has one more.
            make_block: called for every block.
            encoder_attends: sides of the levels whose encoder blocks attend.
            decoder_attends: sides of the levels all of whose decoder blocks attend; in the others of `encoder_attends`
                only the last one does.
        """
        side = self.shape[-1]
        if not widths or num_blocks < 1 or side % 2 ** (len(widths) - 1):
            raise ConfigError(
                f"{len(widths)} levels of {num_blocks} blocks for images of side {side}: needed are at least one level "
                "of one block, and a side that can be halved between levels."
            )
        sides = [side >> level for level in range(len(widths))]
        self.levels, self.num_blocks = [f"{s}x{s}" for s in sides], num_blocks
        self.deepest = (widths[-1], sides[-1], sides[-1])
        self.enc, self.dec = nn.ModuleDict(), nn.ModuleDict()

        channels, joined = first_width, []
        for level, (name, s, width) in enumerate(zip(self.levels, sides, widths, strict=True)):
            if level == 0:
                self.enc[f"{name}_conv"] = Conv(self.in_channels, channels, 3)
            else:
                self.enc[f"{name}_down"] = make_block(channels, channels, change="down")
            joined.append(channels)
            for i in range(num_blocks):
                self.enc[f"{name}_block{i}"] = make_block(channels, width, attention=s in encoder_attends)
                channels = width
                joined.append(width)

        for level, (name, s, width) in reversed(list(enumerate(zip(self.levels, sides, widths, strict=True)))):
            if level == len(widths) - 1:
                self.dec[f"{name}_in0"] = make_block(channels, channels, attention=True)
                self.dec[f"{name}_in1"] = make_block(channels, channels)
            else:
                self.dec[f"{name}_up"] = make_block(channels, channels, change="up")
            for i in range(num_blocks + 1):
                attends = s in decoder_attends or (s in encoder_attends and i == num_blocks)
                self.dec[f"{name}_block{i}"] = make_block(channels + joined.pop(), width, attention=attends)
                channels = width

    def forward(self, x: Tensor, time: Tensor, condition: Condition) -> Tensor:
        emb = self.embed(time, condition)
        image, joined = x, []
        for level, name in enumerate(self.levels):
            if level == 0:
                x = self.enc[f"{name}_conv"](x)
            else:
                x = self.enc[f"{name}_down"](x, emb)
                x, image = self.feed_image(name, x, image)
            joined.append(x)
            for i in range(self.num_blocks):
                x = self.enc[f"{name}_block{i}"](x, emb)
                joined.append(x)

        output = None
        for name in reversed(self.levels):
            if name == self.levels[-1]:
                x = self.dec[f"{name}_in1"](self.dec[f"{name}_in0"](x, emb), emb)
            else:
                x = self.dec[f"{name}_up"](x, emb)
            for i in range(self.num_blocks + 1):
                x = self.dec[f"{name}_block{i}"](torch.cat([x, joined.pop()], dim=1), emb)
            output = self.read_image(name, x, output)
        assert output is not None
        return output[:, : self.shape[0]]

    def recompute_activations(self) -> None:
        for block in self.modules():
            if isinstance(block, UNetBlock):
                block.recompute = True

    def units(self) -> list[nn.Module]:
        return [block for block in self.modules() if isinstance(block, UNetBlock)]

    def time_embedding(self) -> tuple[nn.Module, int] | None:
        return self.map_layer1, self.map_layer1.out_features

    def bottleneck(self) -> tuple[nn.Module, tuple[int, ...]]:
        return self.dec[f"{self.levels[-1]}_in1"], self.deepest

    def embed(self, time: Tensor, condition: Condition) -> Tensor:
        """Time and labels as one vector. Args: time, shape (b,). Returns: shape (b, emb_channels)."""
        raise NotImplementedError

    def feed_image(self, name: str, x: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        """Feed the input image into level `name` of the encoder: the level's features, and the image for the next."""
        return x, image

    def read_image(self, name: str, x: Tensor, output: Tensor | None) -> Tensor | None:
        """The output image after level `name` of the decoder, given that of the coarser level."""
        raise NotImplementedError

    def one_hot(self, condition: Condition) -> Tensor:
        """Labels as rows of zeros and a one, shape (b, num_classes), float32; dropped ones are all zero."""
        labels = self.labels(condition)
        assert labels is not None
        rows = F.one_hot(labels, self.num_classes).float()
        if self.training and self.label_dropout:
            rows = rows * (torch.rand(len(rows), 1, device=rows.device) >= self.label_dropout)
        return rows
